import fc from 'fast-check';

/**
 * Property tests draw the same examples in every run: a suite that fails must fail again. To look for more, give another
 * seed: WEFT_SEED=7 ./weft test unit
 */
fc.configureGlobal({ seed: Number(process.env['WEFT_SEED'] ?? 20_261_121) });
