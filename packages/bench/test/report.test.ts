import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { bucketLowerUs, binShares } from '../dist/report/histogram-bins.js';
import { formatChange, formatLatency, formatMicros, formatShare } from '../dist/report/format.js';
import { renderReport } from '../dist/report/html-document.js';
import { placeLabels } from '../dist/report/label-places.js';
import { logAxis } from '../dist/report/log-axis.js';
import { sparkline, sparklineAxis } from '../dist/report/sparkline.js';
import { renderTables } from '../dist/report/terminal-tables.js';
import type {
  Disk,
  ExperimentCell,
  ExperimentResult,
  Histogram,
  Machine,
  Measurement,
  Mode,
  SharingCell,
} from '../dist/results.js';

const PLAIN = { color: false, columns: 80 };
const SECTIONS = ['summary', 'distributions', 'sharing', 'scale', 'breakdown', 'machine'];

/** Two peaks and an outlier near 5 ms. */
function measurement(peakUs: number, syncShare: number): Measurement {
  const peak = (us: number, count: number): Histogram => [
    [us, count],
    [us * 1.03, count * 2],
    [us * 1.06, count],
  ];
  const latency_us = {
    mean: peakUs * 1.2,
    p50: peakUs,
    p90: peakUs * 1.6,
    p99: peakUs * 1.65,
    p99_9: 900,
    max: 4910,
  };
  const histogram: Histogram = [...peak(peakUs, 4000), ...peak(peakUs * 1.6, 900), [900, 3], [4992, 1]];
  return {
    iops: 1e6 / peakUs,
    latency_us,
    sync: 20_000 * syncShare,
    async: 20_000 * (1 - syncShare),
    histogram,
  };
}

const EMPTY: Measurement = {
  iops: 0,
  latency_us: { mean: NaN, p50: NaN, p90: NaN, p99: NaN, p99_9: NaN, max: NaN },
  sync: 0,
  async: 0,
  histogram: [],
};

const MACHINE: Machine = {
  cpu: 'Example CPU @ 2.80GHz',
  cores: 2,
  node: 'v20.20.2',
  v8: '11.3.244.8',
  kernel: '6.1.0-28-amd64',
  platform: 'linux x64',
  date: '2025-05-04T10:00:00Z',
  lost_pct: 1.5,
  runtime_s: 5,
};

function fullResult(): ExperimentResult {
  const experiment = (['null-30us', 'null-2us', 'file'] as Disk[]).flatMap((disk, d) =>
    [1, 2, 4].flatMap((jobs) =>
      (['aio', 'sio', 'auto'] as Mode[]).map((mode, m): ExperimentCell => {
        return { disk, mode, jobs, ...measurement((50 + 7 * m + 11 * jobs) / (1 + 9 * d), m / 2) };
      }),
    ),
  );
  const sharing = (['shared', 'own'] as SharingCell['placement'][]).flatMap((placement) =>
    (['sio', 'auto'] as SharingCell['mode'][]).flatMap((mode) =>
      (['idle', 'slow', 'flood'] as SharingCell['neighbour'][]).map((neighbour): SharingCell => {
        return { placement, mode, neighbour, ...measurement(60, mode === 'sio' ? 1 : 0) };
      }),
    ),
  );
  const steps = ['doorbell', 'wake-up', 'pop', 'submit', 'complete', 'interrupt'];
  return {
    experiment,
    sharing,
    scale: [
      { idle_devices: 0, iops: 18_000 },
      { idle_devices: 100, iops: 17_460 },
    ],
    breakdown: (['asleep', 'polling'] as const).flatMap((variant, v) =>
      steps.map((step, i) => ({ step, mean_ns: 200 + 9000 * i * (1 - v * 0.5), variant })),
    ),
    machine: MACHINE,
  };
}

const NOTHING: ExperimentResult = {
  experiment: [],
  sharing: [],
  scale: [],
  breakdown: [],
  machine: MACHINE,
};

/** A run with few jobs, a cell left out, one that saw no request, and steps without a variant. */
function quickResult(): ExperimentResult {
  const full = fullResult();
  const experiment = full.experiment
    .filter(({ disk, jobs, mode }) => disk === 'null-30us' && jobs < 4 && !(jobs === 2 && mode === 'sio'))
    .map((cell) => (cell.jobs === 2 && cell.mode === 'auto' ? { ...cell, ...EMPTY } : cell));
  return { ...NOTHING, experiment, breakdown: [{ step: 'doorbell', mean_ns: 300 }] };
}

/** The part of the document that is one section. */
function section(html: string, id: string): string {
  const begin = html.indexOf(`<section id="${id}">`);
  return html.slice(begin, html.indexOf('</section>', begin));
}

/** Fails unless every element that was opened is closed, in order. */
function expectBalanced(html: string): void {
  const voids = new Set(['meta', 'path', 'circle', 'rect']);
  const open: string[] = [];
  const body = html.replace(/<style>.*?<\/style>/s, '').replace('<!doctype html>', '');
  for (const [, close, name, selfClosed] of body.matchAll(/<(\/?)([a-z][a-z0-9]*)\b[^<>]*?(\/?)>/g)) {
    if (close === '/') expect(open.pop()).toBe(name);
    else if (name !== 'colgroup' && selfClosed === '/') expect(voids).toContain(name);
    else if (!voids.has(name!)) open.push(name!);
  }
  expect(open).toEqual([]);
}

describe('HTML report', () => {
  test('has every section, in order', () => {
    const html = renderReport(fullResult());
    expect(html.startsWith('<!doctype html>')).toBe(true);
    expect([...html.matchAll(/<section id="([a-z]+)">/g)].map(([, id]) => id)).toEqual(SECTIONS);
    expect(html).not.toContain('Not measured');
    expect(html).not.toContain('NaN');
  });

  test('puts the figures of 2019 beside those of the run', () => {
    const html = section(renderReport(fullResult()), 'summary');
    expect(html).toContain('Stefan Hajnoczi');
    const row = html.slice(html.indexOf('<th scope="row" class="number">4</th>'));
    const figures = [...row.slice(0, row.indexOf('</tr>')).matchAll(/<td[^>]*>([^<]*)<\/td>/g)];
    expect(figures.map(([, text]) => text)).toEqual(['90', '113', '159', '121', '90', '130', '100 %']);
  });

  test('draws a panel for every disk and number of jobs, and one for every neighbour', () => {
    const html = renderReport(fullResult());
    expect(section(html, 'distributions').match(/<svg /g)).toHaveLength(9);
    expect(section(html, 'distributions').match(/class="area"/g)).toHaveLength(27);
    expect(section(html, 'sharing').match(/<svg /g)).toHaveLength(3);
    expect(section(html, 'sharing').match(/class="area"/g)).toHaveLength(12);
    expect(section(html, 'breakdown').match(/<svg /g)).toHaveLength(2);
  });

  test('marks outliers that are too few to be seen as height', () => {
    const rugs = [...renderReport(fullResult()).matchAll(/class="rug" d="([^"]*)"/g)];
    for (const [, path] of rugs) expect(path!.match(/M/g)!.length).toBeGreaterThanOrEqual(2);
  });

  test('gives every drawing a title, a description, and ids of its own', () => {
    const html = renderReport(fullResult());
    const drawings = html.match(/<svg [^>]*role="img" aria-labelledby="[^"]+"/g)!;
    expect(drawings).toHaveLength(html.match(/<svg /g)!.length);
    expect(html.match(/<desc id=/g)).toHaveLength(drawings.length);
    const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id!);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [, named] of html.matchAll(/aria-labelledby="([^"]+)"/g)) {
      expect(ids).toEqual(expect.arrayContaining(named!.split(' ')));
    }
  });

  test('captions every table', () => {
    const html = renderReport(fullResult());
    expect(html.match(/<caption>/g)).toHaveLength(html.match(/<table/g)!.length);
  });

  test.each([
    ['full', fullResult()],
    ['quick', quickResult()],
    ['empty', NOTHING],
  ])('of a %s run is well-formed and fetches nothing', (_name, result) => {
    const html = renderReport(result);
    expectBalanced(html);
    expect(html).not.toMatch(/https?:|\/\/[a-z]|<script|<link|<img|<iframe|@import|url\(|\bsrc=|\bhref=/i);
  });

  test('escapes all text', () => {
    const hostile = `<script>alert("x")</script> & 'y'`;
    const machine: Machine = { ...MACHINE, cpu: hostile, node: hostile, kernel: hostile, date: hostile };
    const html = renderReport({ ...fullResult(), machine, breakdown: [{ step: hostile, mean_ns: 5 }] });
    expect(html).not.toContain('<script');
    expect(html).toContain('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;y&#39;');
    expectBalanced(html);
  });

  test('says what was not measured', () => {
    const html = renderReport(NOTHING);
    for (const id of SECTIONS) {
      if (id === 'machine') continue;
      expect(section(html, id)).toContain('Not measured in this run.');
    }
    // The figures of 2019 stand for themselves.
    expect(section(html, 'summary')).toContain('159');
  });

  test('leaves room for single missing cells', () => {
    const html = renderReport(quickResult());
    expect(section(html, 'distributions')).toContain('not measured');
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
  });
});

describe('terminal tables', () => {
  const results: [string, ExperimentResult][] = [
    ['full', fullResult()],
    ['quick', quickResult()],
    ['empty', NOTHING],
    ['slow', { ...NOTHING, experiment: [slowCell()], sharing: [slowSharing()] }],
    ['long-winded', { ...NOTHING, machine: { ...MACHINE, cpu: 'x'.repeat(200) } }],
  ];

  function slowCell(): ExperimentCell {
    return { disk: 'null-30us', mode: 'auto', jobs: 128, ...measurement(1_250_000, 0.9999) };
  }

  function slowSharing(): SharingCell {
    return { placement: 'shared', mode: 'auto', neighbour: 'flood', ...measurement(0.2, 0.9999) };
  }

  test.each(results)('of a %s run keep to 80 columns, and to fewer', (_name, result) => {
    for (const [columns, widest] of [
      [200, 80],
      [80, 80],
      [0, 80],
      [72, 72],
      [30, 64],
    ] as const) {
      const lines = renderTables(result, { color: false, columns }).split('\n');
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(widest);
    }
  });

  test.each(results)('of a %s run are the same text with and without colour', (_name, result) => {
    const plain = renderTables(result, PLAIN);
    expect(plain).not.toContain('\x1b');
    expect(plain).not.toMatch(/NaN|undefined|Infinity/);
    const coloured = renderTables(result, { color: true, columns: 80 });
    expect(coloured).toContain('\x1b[');
    const trimmed = stripVTControlCharacters(coloured).replaceAll(/ +$/gm, '');
    expect(trimmed).toBe(plain.replaceAll(/ +$/gm, ''));
  });

  test('show every part', () => {
    const text = renderTables(fullResult(), PLAIN);
    for (const part of ['null-30us', 'null-2us', 'file', 'sharing an iothread', 'idle devices', 'wake-up']) {
      expect(text).toContain(part);
    }
    expect(text).toContain('Asleep');
    expect(text).toContain('Polling');
    expect(text).not.toContain('not measured');
    expect(text.match(/[▁▂▃▄▅▆▇█].* \./g)!.length).toBeGreaterThanOrEqual(27);
  });

  test('put the figures of 2019 beside those of the run', () => {
    const text = renderTables(fullResult(), PLAIN);
    expect(text).toMatch(/^ +4 +113 \(90\) +121 \(159\) +130 \(90\) +100 %$/m);
    // Other disks have none.
    expect(text.slice(text.indexOf('null-2us'))).not.toMatch(/\(\d/);
  });

  test('keep control characters of the machine out', () => {
    const machine: Machine = { ...MACHINE, cpu: 'a\x1b[31mb\nc' };
    const text = renderTables({ ...NOTHING, machine }, PLAIN);
    expect(text).not.toContain('\x1b');
    expect(text).toContain('a [31mb c');
  });
});

describe('axis and bins', () => {
  test('round outwards to 1, 2 or 5 and label powers of ten with their unit', () => {
    const axis = logAxis([measurement(61, 0)]);
    expect([axis.minUs, axis.maxUs]).toEqual([50, 5000]);
    expect([axis.position(50), axis.position(500), axis.position(5000)]).toEqual([0, 0.5, 1]);
    const major = axis.ticks.filter((tick) => tick.major);
    expect(major.map(({ label }) => label)).toEqual(['100 µs', '1 ms']);
  });

  test('stand up to nothing, to zero and to seconds', () => {
    expect(logAxis([EMPTY]).position(1)).toBe(0);
    const wide = logAxis([{ ...EMPTY, histogram: [[0, 1], [3e6, 1]] }]); // prettier-ignore
    expect(wide.position(0)).toBe(0);
    expect(wide.position(3e6)).toBeLessThanOrEqual(1);
  });

  test('lose no request', () => {
    const cell = measurement(61, 0);
    for (const binCount of [1, 7, 44, 500]) {
      const shares = binShares(cell.histogram, logAxis([cell]), binCount);
      expect(shares).toHaveLength(binCount);
      expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
    }
  });

  test("know a bucket's lower bound from its upper one", () => {
    // 64 ns to 128 ns in 32 parts of 2 ns.
    expect(bucketLowerUs(0.066)).toBeCloseTo(0.064, 9);
    expect(bucketLowerUs(0.128)).toBeCloseTo(0.126, 9);
    expect(bucketLowerUs(0.001)).toBe(0);
  });

  test('make a sparkline with peaks, gaps and dots for outliers', () => {
    const axis = logAxis([measurement(61, 0)]);
    const line = sparkline([[61, 5000], [640, 4999], [4900, 1]], axis, 40); // prettier-ignore
    expect(line).toHaveLength(40);
    expect(line.trimStart()).toMatch(/^█+ +[▁-█]+ +\.$/);
    expect(sparkline([], axis, 40).trim()).toBe('');
    expect(sparklineAxis(axis, 40)).toHaveLength(40);
  });
});

test('labels give way to each other and stay inside', () => {
  const labels = [10, 12, 95, 99].map((at) => ({ at, width: 20 }));
  expect(placeLabels(labels, 0, 100)).toEqual([10, 30, 70, 90]);
});

test('figures keep three digits or so, and shares tell all from almost all', () => {
  expect([0.5, 9.999, 55.25, 99.96, 1234.5].map(formatMicros)).toEqual([
    '0.50',
    '10.0',
    '55.3',
    '100',
    '1,235',
  ]);
  expect([0.21, 70, 999.6, 4910].map(formatLatency)).toEqual(['210 ns', '70.0 µs', '1.00 ms', '4.91 ms']);
  expect([0, 0.0001, 0.5, 0.9999, 1].map(formatShare)).toEqual([
    '0 %',
    '<0.1 %',
    '50.0 %',
    '>99.9 %',
    '100 %',
  ]);
  expect([0.97, 1, 1.04].map(formatChange)).toEqual(['−3 %', '±0 %', '+4 %']);
});
