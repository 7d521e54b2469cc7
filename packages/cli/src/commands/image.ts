import { existsSync } from 'node:fs';
import path from 'node:path';
import { clusterPaths } from '@weft/lab';
import { ImageStore, loadImages } from '@weft/lab/images';
import { WeftError } from '@weft/plan';
import { distDir, hostContext } from '../context.ts';
import { createOutput, table } from '../output.ts';

function openStore(): ImageStore {
  const host = hostContext();
  return ImageStore.open(clusterPaths('images', host.env, host.uid).imagesDir);
}

export async function imageLoad(file: string, options: { readonly output?: string }): Promise<void> {
  const out = createOutput(options.output);
  if (!existsSync(file))
    throw new WeftError({
      code: 'NO_SUCH_FILE',
      message: `there is no file ${path.resolve(file)}`,
      hint: 'docker save IMAGE -o FILE makes an archive; so does skopeo copy docker://IMAGE docker-archive:FILE:IMAGE',
    });
  const loaded = await loadImages(openStore(), file);
  for (const ref of loaded) out.line(`Loaded ${ref}`);
  out.result(loaded);
}

export async function imageList(options: { readonly output?: string }): Promise<void> {
  const out = createOutput(options.output);
  const images = openStore().list();
  out.result(images.map((i) => ({ ref: i.ref, source: i.source, imageId: i.imageId, size: i.size })));
  const rows = images.map((i) => [
    i.ref,
    i.source,
    i.configDigest.replace('sha256:', '').slice(0, 12),
    `${(i.size / 1e6).toFixed(1)} MB`,
  ]);
  for (const line of table(['IMAGE', 'SOURCE', 'ID', 'SIZE'], rows)) out.line(line);
}

/** Makes the images that every cluster starts with; prints what it did. */
export async function imagePrepare(options: { readonly dir: string }): Promise<void> {
  const { prepareImages } = await import('@weft/lab/supervisor');
  process.stdout.write(`${await prepareImages(options.dir, distDir, process.execPath)}\n`);
}
