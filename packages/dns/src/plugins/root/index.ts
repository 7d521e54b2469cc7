import { statSync } from 'node:fs';
import { argumentError, parsingError } from '../../corefile/error.ts';
import type { Plugin } from '../../server/plugin.ts';

/** The folder that relative paths of the block start at. */
export const root: Plugin = {
  name: 'root',
  once: false,
  setup(directives, context) {
    for (const { name, args } of directives) {
      const [folder, extra] = args;
      if (folder === undefined || extra !== undefined) throw argumentError(extra ?? name, extra?.text ?? 'root');
      context.setRoot(folder.text);
      try {
        statSync(folder.text);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
          throw parsingError(name, `unable to access root path '${folder.text}': ${(error as Error).message}`);
        // The folder may appear later.
        context.warn(name, `Root path does not exist: ${folder.text}`);
      }
    }
    return undefined;
  },
};
