import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Enclosure } from './enclosure.ts';

/** Image with the programs of an enclosure; it serves as pause image too. */
export const IMAGE = 'weft.local/test:1';

/** containerd with directories and sockets of its own, inside of an enclosure. */
export class Containerd {
  readonly socket: string;
  readonly #node: Enclosure;
  readonly #said: string[] = [];

  private constructor(node: Enclosure, socket: string) {
    this.#node = node;
    this.socket = socket;
  }

  static async start(node: Enclosure): Promise<Containerd> {
    const data = join(node.dir, 'data', 'containerd');
    // The enclosure's own /run is out of sight for this process.
    const socket = join(node.dir, 'containerd.sock');
    const config = `version = 2
root = "${data}/root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "${socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${IMAGE}"
  disable_cgroup = true
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${node.binDir}"
    conf_dir = "${node.confDir}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      pod_annotations = ["*"]
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "${node.runc}"
`;
    writeFileSync(join(node.dir, 'containerd.toml'), config);
    const self = new Containerd(node, socket);
    const daemon = node.daemon(['containerd', '--config', join(node.dir, 'containerd.toml'), '--log-level', 'info']);
    const ready = new Promise<void>((resolve, reject) => {
      const hear = (chunk: Buffer): void => {
        self.#said.push(chunk.toString());
        if (chunk.toString().includes('containerd successfully booted')) resolve();
      };
      daemon.stdout?.on('data', hear);
      daemon.stderr?.on('data', hear);
      daemon.on('exit', (code) => reject(new Error(`containerd ended with ${code}:\n${self.log()}`)));
    });
    await ready;
    await self.#importImage();
    return self;
  }

  /** What containerd has logged, its last part. */
  log(): string {
    return this.#said.join('').slice(-4000);
  }

  ctr(...args: string[]): Promise<string> {
    return this.#node.must(['ctr', '--address', this.socket, '-n', 'k8s.io', ...args]);
  }

  async #importImage(): Promise<void> {
    const dir = join(this.#node.dir, 'image');
    mkdirSync(dir);
    await this.#node.must(['tar', '-C', this.#node.rootfs, '-cf', join(dir, 'layer.tar'), '.']);
    const digest = createHash('sha256')
      .update(readFileSync(join(dir, 'layer.tar')))
      .digest('hex');
    const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
    const config = {
      architecture,
      os: 'linux',
      config: { Cmd: ['/bin/httpd', '-f', '-p', '80', '-h', '/'], Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
      history: [{ created_by: 'test' }],
    };
    writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
    const manifest = [{ Config: 'config.json', RepoTags: [IMAGE], Layers: ['layer.tar'] }];
    writeFileSync(join(dir, 'manifest.json'), JSON.stringify(manifest));
    const archive = join(this.#node.dir, 'image.tar');
    await this.#node.must(['tar', '-C', dir, '-cf', archive, 'manifest.json', 'config.json', 'layer.tar']);
    await this.ctr('images', 'import', '--snapshotter', 'native', archive);
  }
}
