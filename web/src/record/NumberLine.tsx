// Where a value lies beside its usual range. A picture of the sentence above it, so it is hidden from who listens.

import { digits, type Measure } from "../fhir/measures.ts";

/** Room on the line beside the range, in widths of the range. */
const MARGIN = 0.5;
/** No value leaves the line. */
const EDGE_PERCENT = 3;

export function NumberLine({ measure }: { readonly measure: Measure }) {
  const { low, high, number, standing } = measure;
  const from = low ?? Math.min(0, number!);
  const to = high ?? Math.max(from * 2, number! * 1.25);
  const width = to - from || 1;
  const [start, end] = [Math.min(from - MARGIN * width, number!), Math.max(to + MARGIN * width, number!)];
  const percent = (value: number): number => (100 * (value - start)) / (end - start);
  const at = Math.min(100 - EDGE_PERCENT, Math.max(EDGE_PERCENT, percent(number!)));
  return (
    <div className="number-line" aria-hidden="true">
      <div className="line">
        <span className="usual" style={{ left: `${percent(from)}%`, width: `${percent(to) - percent(from)}%` }} />
        <span className={`mark ${standing}`} style={{ left: `${at}%` }} />
      </div>
      <div className="bounds">
        {low !== null && <span style={{ left: `${percent(low)}%` }}>{digits(low)}</span>}
        {high !== null && <span style={{ left: `${percent(high)}%` }}>{digits(high)}</span>}
      </div>
    </div>
  );
}
