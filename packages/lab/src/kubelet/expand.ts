/**
 * Replaces `$(NAME)` by the value of NAME (Kubernetes' dependent environment variables). A name without a value stays
 * as it is written; `$$` is one dollar sign, so `$$(NAME)` is the text `$(NAME)`.
 */
export function expand(text: string, valueOf: (name: string) => string | undefined): string {
  let out = '';
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== '$' || at + 1 >= text.length) {
      out += text[at];
      continue;
    }
    const next = text[at + 1];
    if (next === '$') {
      out += '$';
      at += 1;
    } else if (next === '(') {
      const end = text.indexOf(')', at + 2);
      if (end < 0) {
        out += '$(';
        at += 1;
      } else {
        const name = text.slice(at + 2, end);
        out += valueOf(name) ?? `$(${name})`;
        at = end;
      }
    } else out += '$';
  }
  return out;
}
