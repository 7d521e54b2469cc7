// A virtual machine with Debian's own kernel, for what the kernel of this machine lacks: IPVS, ipip, wireguard, ipvlan,
// dummy, VRF, netem, flowtables, SCTP. It sees this machine's files, read-only, over 9p; nothing is installed in it.
import { spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** Kernel and modules of the guest, unpacked. */
interface GuestKernel {
  readonly release: string;
  readonly image: string;
  /** Holds `lib/modules/RELEASE`, for `modprobe -d`. */
  readonly root: string;
}

const cacheRoot = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(os.homedir(), '.cache'), 'weft', 'guest');

function must(file: string, args: readonly string[], cwd?: string): string {
  const ran = spawnSync(file, args, { cwd, encoding: 'utf8', maxBuffer: 1 << 26 });
  if (ran.status === 0) return ran.stdout;
  throw new Error(`${file} ${args.join(' ')}: ${ran.error?.message ?? `${ran.stdout}${ran.stderr}`.trim()}`);
}

/** Parts of the modules' tree that no network test needs; they are three quarters of it. */
const UNNEEDED = [
  'sound',
  'drivers/gpu',
  'drivers/media',
  'drivers/infiniband',
  'drivers/staging',
  'drivers/scsi',
  'drivers/iio',
];

/** Debian's kernel for virtual machines: fetched as a package and unpacked once, not installed. */
function guestKernel(): GuestKernel {
  const depends = must('apt-cache', ['depends', 'linux-image-amd64']);
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) throw new Error(`linux-image-amd64 depends on no kernel:\n${depends}`);
  const release = name.replace('linux-image-', '');
  const root = path.join(cacheRoot, release);
  const kernel = { release, root, image: path.join(root, 'boot', `vmlinuz-${release}`) };
  if (existsSync(root)) return kernel;
  mkdirSync(cacheRoot, { recursive: true });
  const scratch = mkdtempSync(path.join(cacheRoot, 'new-'));
  try {
    process.stdout.write(`vm: fetching ${name}\n`);
    must('apt-get', ['download', name], scratch);
    const [deb] = readdirSync(scratch);
    const unpacked = path.join(scratch, 'root');
    must('dpkg', ['-x', path.join(scratch, deb ?? ''), unpacked]);
    for (const part of UNNEEDED)
      rmSync(path.join(unpacked, 'lib/modules', release, 'kernel', part), { recursive: true, force: true });
    must('depmod', ['-b', unpacked, release]);
    renameSync(unpacked, root);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return kernel;
}

/** What has to be in the kernel before it can see this machine's files. */
const FIRST_MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay'];

/** First process: brings up 9p and hands over to this machine's own files. */
const INIT = `#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /new
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
o=trans=virtio,version=9p2000.L,msize=262144
/bin/busybox mount -t 9p -o $o,ro,cache=loose host /new || /bin/busybox poweroff -f
for dir in /tmp /run /var/tmp /var/lib /root; do /bin/busybox mount -t tmpfs tmpfs /new$dir; done
/bin/busybox mkdir -p /new/tmp/lower /new/tmp/upper /new/tmp/work /new/tmp/checkout /new/tmp/out /new/tmp/guest
/bin/busybox mount -t 9p -o $o,ro,cache=loose checkout /new/tmp/lower
/bin/busybox mount -t overlay -o lowerdir=/new/tmp/lower,upperdir=/new/tmp/upper,workdir=/new/tmp/work overlay /new/tmp/checkout
/bin/busybox mount -t 9p -o $o out /new/tmp/out
/bin/busybox mount -t 9p -o $o,ro,cache=loose guest /new/tmp/guest
for dir in /proc /sys /dev; do /bin/busybox mount --move $dir /new$dir; done
exec /bin/busybox switch_root /new /bin/sh /tmp/out/start.sh
`;

/** Second process, among this machine's programs. */
const START = (release: string, command: string): string => `
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
ln -s /proc/self/fd /dev/fd
printf '#!/bin/sh\\nexec /sbin/modprobe -d /tmp/guest -S ${release} "$@"\\n' >/run/modprobe
chmod 755 /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
# Makes /dev/net/tun, without which nobody asks for it.
/run/modprobe tun
hostname guest
# Namespaces without tunl0 and the like, as where these drivers are not loaded.
echo 1 >/proc/sys/net/core/fb_tunnels_only_for_init_net
ip link set lo up
cd /tmp/checkout
( ${command} ) >/tmp/out/output 2>&1
echo $? >/tmp/out/status
sync
echo o >/proc/sysrq-trigger
sleep 100
`;

/** Modules in the order of their dependencies. */
function moduleFiles(kernel: GuestKernel): string[] {
  const files: string[] = [];
  for (const name of FIRST_MODULES) {
    const shown = must('modprobe', ['-d', kernel.root, '-S', kernel.release, '--show-depends', name]);
    for (const [, file] of shown.matchAll(/^insmod (\S+)/gm))
      if (file !== undefined && !files.includes(file)) files.push(file);
  }
  return files;
}

function initramfs(kernel: GuestKernel, dir: string): string {
  const root = path.join(dir, 'initramfs');
  mkdirSync(path.join(root, 'bin'), { recursive: true });
  mkdirSync(path.join(root, 'modules'));
  copyFileSync(must('sh', ['-c', 'command -v busybox']).trim(), path.join(root, 'bin/busybox'));
  const files = moduleFiles(kernel);
  for (const file of files) cpSync(file, path.join(root, 'modules', path.basename(file)));
  writeFileSync(path.join(root, 'modules/order'), files.map((f) => path.basename(f)).join('\n'));
  writeFileSync(path.join(root, 'init'), INIT, { mode: 0o755 });
  const archive = path.join(dir, 'initramfs.cpio');
  must('sh', ['-c', `cd '${root}' && find . | cpio --quiet -o -H newc >'${archive}'`]);
  return archive;
}

export interface GuestRun {
  /** Exit status of the command; undefined when the guest never came to its end. */
  readonly status: number | undefined;
  readonly output: string;
  /** What the kernel printed. */
  readonly console: string;
  /** The file of this name that the command wrote into /tmp/out. */
  file(name: string): string | undefined;
}

/**
 * Boots the guest, runs a shell command in it as root, in a copy-on-write view of the checkout, and ends it. Emulated:
 * some ten times slower than this machine.
 */
export async function inGuest(
  command: string,
  options: { readonly checkout: string; readonly timeoutMs: number },
): Promise<GuestRun> {
  const kernel = guestKernel();
  const dir = mkdtempSync(path.join(os.tmpdir(), 'weft-vm-'));
  const out = path.join(dir, 'out');
  mkdirSync(out);
  writeFileSync(path.join(out, 'start.sh'), START(kernel.release, command));
  const share = (tag: string, at: string, readonly = true): string[] => [
    '-virtfs',
    `local,path=${at},mount_tag=${tag},security_model=none,multidevs=remap${readonly ? ',readonly=on' : ''}`,
  ];
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      '-M q35 -accel tcg,thread=multi -cpu max -smp 2 -m 3072 -display none -no-reboot -nic none -monitor none'.split(
        ' ',
      ),
      ['-serial', `file:${path.join(dir, 'console')}`],
      ['-kernel', kernel.image, '-initrd', initramfs(kernel, dir)],
      ['-append', 'console=ttyS0 quiet panic=-1 mitigations=off'],
      share('host', '/'),
      share('checkout', options.checkout),
      share('guest', kernel.root),
      share('out', out, false),
    ].flat(),
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const timer = setTimeout(() => qemu.kill('SIGKILL'), options.timeoutMs);
  const end = (): void => void qemu.kill('SIGKILL');
  process.once('exit', end);
  await new Promise<void>((resolve, reject) => {
    qemu.once('error', reject);
    qemu.once('close', () => resolve());
  }).finally(() => {
    clearTimeout(timer);
    process.off('exit', end);
  });
  const read = (file: string): string | undefined => (existsSync(file) ? readFileSync(file, 'utf8') : undefined);
  const names = readdirSync(out);
  const files = new Map(names.map((name) => [name, readFileSync(path.join(out, name), 'utf8')]));
  const consoleText = read(path.join(dir, 'console')) ?? '';
  rmSync(dir, { recursive: true, force: true });
  const status = files.get('status');
  return {
    status: status === undefined ? undefined : Number(status),
    output: files.get('output') ?? '',
    console: consoleText,
    file: (name) => files.get(name),
  };
}
