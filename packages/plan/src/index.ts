export { CompactMap, flatten, KeyIndex } from './compact-map.ts';
export { errorMessage, WeftError, type WeftErrorInit } from './errors.ts';
export { jsonLogger, type Logger, type LogFields, type LogLevel, silentLogger } from './log.ts';
export { type LoopOptions, type LoopState, PlanLoop, type Subsystem } from './loop.ts';
export { type Counter, DEFAULT_BUCKETS, type Gauge, type Histogram, type Labels, Metrics } from './metrics.ts';
export {
  type Diff,
  diffPlans,
  type Entry,
  formatProvenance,
  isEmptyDiff,
  type Plan,
  type Provenance,
  sameValue,
} from './plan.ts';
