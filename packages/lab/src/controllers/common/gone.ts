import { isStatus } from '@weft/kube';

/** Runs a write to an object that may be gone by now, which is as good. */
export async function ignoreGone(job: () => Promise<unknown>): Promise<void> {
  try {
    await job();
  } catch (error) {
    if (!isStatus(error, 'NotFound')) throw error;
  }
}
