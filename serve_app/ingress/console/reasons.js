// What does x-venturi-reason mean, in words?

export const REASONS = {
  effort: "the pool serves this effort",
  shape: "a rule of the configuration sends such requests there",
  dialect: "the home pool is a server that does not have this route",
  "plain-decoding": "it uses what an engine with a draft head does not honour",
  length: "it may outgrow the home pool",
  "spill-over": "home was predicted to be late, and this pool sooner",
  cached: "this pool has the beginning of the prompt in its cache",
  "no-healthy-replica": "no pool for this effort had a healthy replica",
  "replica-failed": "another replica failed before its first byte",
};

/** Return the meaning of a reason; of an error's code, the code in words. */
export const meaning = (reason) => REASONS[reason] ?? reason.replaceAll(/[-_]/g, " ");
