/**
 * Finds keys that stand twice in one JSON object, as `duplicate field "spec.replicas"` (sigs.k8s.io/json). The text
 * must be valid JSON.
 */
export function duplicateFields(text: string): string[] {
  const found = new Set<string>();
  let at = 0;

  const space = (): void => {
    while (at < text.length && text.charCodeAt(at) <= 32) at++;
  };
  const string = (): string => {
    const start = at++;
    let escaped = false;
    while (text[at] !== '"') {
      if (text[at] === '\\') {
        escaped = true;
        at++;
      }
      at++;
    }
    at++;
    return escaped ? (JSON.parse(text.slice(start, at)) as string) : text.slice(start + 1, at - 1);
  };
  const value = (path: string): void => {
    space();
    const c = text[at];
    if (c === '{') {
      at++;
      const seen = new Set<string>();
      for (space(); text[at] !== '}'; space()) {
        if (text[at] === ',') {
          at++;
          continue;
        }
        const key = string();
        const here = path === '' ? key : `${path}.${key}`;
        if (seen.has(key)) found.add(`duplicate field "${here}"`);
        seen.add(key);
        space();
        at++;
        value(here);
      }
      at++;
    } else if (c === '[') {
      at++;
      let index = 0;
      for (space(); text[at] !== ']'; space()) {
        if (text[at] === ',') at++;
        else value(`${path}[${index++}]`);
      }
      at++;
    } else if (c === '"') string();
    else while (at < text.length && !/[\s,\]}]/.test(text[at] as string)) at++;
  };
  value('');
  return [...found];
}
