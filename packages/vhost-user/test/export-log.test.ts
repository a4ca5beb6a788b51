import { expect, test } from 'vitest';
import { ExportLog, LINES, PERIOD_MS } from '../dist/export-log.js';

test('a front end can not flood the log, not even with errors of ours', () => {
  const lines: string[] = [];
  let nowMs = 0;
  const log = new ExportLog(
    (level, message) => lines.push(`${level}: ${message}`),
    () => nowMs,
  );
  for (let i = 0; i < 100; i++) {
    log.info('i');
    log.warning('w');
    log.error('e');
  }
  for (const level of ['info', 'warning', 'error']) {
    expect(lines.filter((line) => line.startsWith(level))).toHaveLength(LINES);
  }
  nowMs = PERIOD_MS;
  log.error('later');
  expect(lines.at(-1)).toBe(`error: later (${100 - LINES} lines before it left out)`);
});
