/** A label that wants to stand centred at a place. */
export interface WantedLabel {
  readonly at: number;
  readonly width: number;
}

/**
 * Centres for labels on one line, as near as possible to where they want to be, without overlaps and inside
 * [from, to]. Labels come in ascending order. Where they can't all fit they begin at `from` and run over.
 */
export function placeLabels(labels: readonly WantedLabel[], from: number, to: number): number[] {
  const centres: number[] = [];
  let right = to;
  for (const label of labels.toReversed()) {
    const centre = Math.min(label.at, right - label.width / 2);
    centres.unshift(centre);
    right = centre - label.width / 2;
  }
  let left = from;
  return centres.map((wanted, i) => {
    const half = labels[i]!.width / 2;
    const centre = Math.max(wanted, left + half);
    left = centre + half;
    return centre;
  });
}
