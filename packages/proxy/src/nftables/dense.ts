/**
 * The next order of a dense list (index 0..N-1) that holds exactly `target`, with as few indexes rewritten as possible:
 * what stays keeps its index, an arriving item takes the place of a leaving one, a gap is closed with the last item.
 * Items may repeat; a repeated item has that much more weight. Pure.
 */
export function denseUpdate<T>(list: readonly T[], target: readonly T[]): T[] {
  const wanted = new Map<T, number>();
  for (const item of target) wanted.set(item, (wanted.get(item) ?? 0) + 1);
  const next = [...list];
  const leaving: number[] = [];
  list.forEach((item, index) => {
    const count = wanted.get(item) ?? 0;
    if (count > 0) wanted.set(item, count - 1);
    else leaving.push(index);
  });
  let filled = 0;
  for (const item of target) {
    const count = wanted.get(item) ?? 0;
    if (count === 0) continue;
    wanted.set(item, count - 1);
    const index = leaving[filled];
    if (index === undefined) next.push(item);
    else next[index] = item;
    filled += 1;
  }
  // From the end, so that the last item is never one that leaves itself.
  for (let i = leaving.length - 1; i >= filled; i--) {
    const index = leaving[i] as number;
    const last = next.pop() as T;
    if (index < next.length) next[index] = last;
  }
  return next;
}
