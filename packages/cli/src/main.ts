import { Command, CommanderError, Option } from 'commander';
import { addCniCommand } from './cni-command.ts';
import { WeftError } from '@weft/plan';
import { printError } from './output.ts';

declare const WEFT_VERSION: string | undefined;
const version = typeof WEFT_VERSION === 'undefined' ? '0.0.0-dev' : WEFT_VERSION;

const number = (text: string): number => (/^\d+$/.test(text) ? Number(text) : Number.NaN);
const nameOption = (): Option => new Option('--name <name>', 'cluster').default('weft');
const outputOption = (): Option => new Option('-o, --output <format>', 'output format').choices(['json']);

const program = new Command('weft')
  .description('The whole Kubernetes network, on this machine or as agents of a real cluster.')
  .version(version, '--version')
  .exitOverride()
  .showHelpAfterError('(weft --help lists the commands)');

program
  .command('up')
  .description('start a cluster on this machine, or find it running')
  .addOption(nameOption())
  .option('--nodes <n>', 'number of nodes (default: 3)', number)
  .option('--subnets <n>', 'spread the nodes over 1 or 2 subnets joined by a router (default: 1)', number)
  .option(
    '--backend <backend>',
    'how pods of different nodes reach each other: vxlan, host-gw, l2, ipip, gre, geneve, udp or bgp (default: vxlan)',
  )
  .option('--pod-cidr <cidr>', 'addresses of pods (default: 10.244.0.0/16)')
  .option('--node-cidr-mask-size <bits>', "size of each node's part of the pod CIDR (default: 24)", number)
  .option('--service-cidr <cidr>', 'addresses of Services (default: 10.96.0.0/12)')
  .option('--underlay-cidr <cidr>', "addresses of the nodes' own network (default: 10.89.0.0/21)")
  .option('--api-port <port>', 'TCP port of the API on 127.0.0.1 (default: the first free one from 6443)', number)
  .option('--no-demo', 'start no demo workload')
  .addOption(outputOption())
  .action(async (options) => (await import('./commands/up.ts')).up(options));

program
  .command('down')
  .description('take a cluster away, with everything that was made for it')
  .addOption(nameOption())
  .option('--all', 'every cluster of this user')
  .addOption(outputOption())
  .action(async (options) => (await import('./commands/down.ts')).down(options));

program
  .command('status')
  .description('show clusters, or one cluster with its nodes')
  .option('--name <name>', 'cluster')
  .addOption(outputOption())
  .action(async (options) => (await import('./commands/status.ts')).status(options));

program
  .command('kubeconfig')
  .description("print a cluster's kubeconfig, or merge it into a file")
  .addOption(nameOption())
  .option('--path', "print the file's path instead of its content")
  .option('--merge [file]', 'add it to ~/.kube/config (or FILE) and make it the current context')
  .addOption(outputOption())
  .action(async (options) => (await import('./commands/kubeconfig.ts')).kubeconfig(options));

// A command line for a node, or for kubectl, is passed on as it is.
program.enablePositionalOptions();
program
  .command('kubectl')
  .description('kubectl for a cluster, fetched where the machine has none: weft kubectl [--name NAME] ARGUMENTS')
  .addOption(nameOption())
  .helpOption(false)
  .allowUnknownOption()
  .passThroughOptions()
  .argument('[args...]')
  .action(async (args, options) => (await import('./commands/kubectl.ts')).kubectl(args, options));
const node = program.command('node').description('nodes of a cluster').enablePositionalOptions();
node
  .command('exec <node> <command...>')
  .description('run a command on a node, as ssh would')
  .addOption(nameOption())
  .passThroughOptions()
  .action(async (name, command, options) => (await import('./commands/node.ts')).nodeExec(name, command, options));
node
  .command('stop <node>')
  .description('switch a node off')
  .addOption(nameOption())
  .action(async (name, options) => (await import('./commands/node.ts')).nodePower(name, 'stop', options));
node
  .command('start <node>')
  .description('switch a node on')
  .addOption(nameOption())
  .action(async (name, options) => (await import('./commands/node.ts')).nodePower(name, 'start', options));
node
  .command('run <node>', { hidden: true })
  .requiredOption('--cluster <name>')
  .action(async (name, options) => (await import('./commands/run-node.ts')).runNode(name, options));

const image = program.command('image').description('images that pods run');
image
  .command('load <file>')
  .description('add an image from a docker or OCI archive')
  .addOption(outputOption())
  .action(async (file, options) => (await import('./commands/image.ts')).imageLoad(file, options));
image
  .command('list')
  .description('list images')
  .addOption(outputOption())
  .action(async (options) => (await import('./commands/image.ts')).imageList(options));

image
  .command('prepare', { hidden: true })
  .requiredOption('--dir <dir>')
  .action(async (options) => (await import('./commands/image.ts')).imagePrepare(options));

const kubeconfigOption = (): Option => new Option('--kubeconfig <file>', 'another cluster than one of this machine');
const ip = program.command('ip').description('addresses of pods: where they come from and who has them');
for (const [name, about, show] of [
  ['pools', 'pools and pod CIDRs, and how full they are', 'ipPools'],
  ['blocks', 'blocks of pools, and which node has them', 'ipBlocks'],
  ['list', 'every address that is in use or kept', 'ipList'],
] as const) {
  ip.command(name, { isDefault: name === 'pools' })
    .description(about)
    .addOption(nameOption())
    .addOption(kubeconfigOption())
    .addOption(outputOption())
    .action(async (options) => (await import('./commands/ip.ts'))[show](options));
}
ip.command('who <address>')
  .description('what an address is')
  .addOption(nameOption())
  .addOption(kubeconfigOption())
  .addOption(outputOption())
  .action(async (address, options) => (await import('./commands/ip.ts')).ipWho(address, options));

const networks = program.command('networks').description('further networks of pods: which there are and who has them');
networks
  .command('list', { isDefault: true })
  .description('networks that pods can be attached to')
  .addOption(nameOption())
  .addOption(kubeconfigOption())
  .addOption(outputOption())
  .action(async (options) => (await import('./commands/networks.ts')).listNetworks(options));
networks
  .command('of <pod>')
  .description('interfaces of a pod, and what it asks for and does not have')
  .option('-n, --namespace <namespace>', 'namespace (default: default)')
  .addOption(nameOption())
  .addOption(kubeconfigOption())
  .addOption(outputOption())
  .action(async (pod, options) => (await import('./commands/networks.ts')).networksOfPod(pod, options));

const proxy = program.command('proxy').description("Services on the nodes' kernels");
const modeCommand = proxy
  .command('mode')
  .description('show the data plane of each node, or change it while traffic goes on')
  .enablePositionalOptions()
  .addOption(nameOption())
  .addOption(kubeconfigOption())
  .addOption(outputOption())
  .action(async (options) => (await import('./commands/proxy.ts')).proxyMode(options));
modeCommand
  .command('set <mode>')
  .description('nftables, iptables, ipvs, userspace, ebpf, or default; without --node on all nodes')
  .option('--node <node...>', 'nodes to change')
  .addOption(nameOption())
  .addOption(kubeconfigOption())
  .addOption(outputOption())
  .action(async (mode, options) => {
    if (!['nftables', 'iptables', 'ipvs', 'userspace', 'ebpf', 'default'].includes(mode)) {
      throw new WeftError({
        code: 'BAD_MODE',
        message: `there is no data plane "${mode}"`,
        hint: 'weft proxy mode set nftables|iptables|ipvs|userspace|ebpf|default',
      });
    }
    await (await import('./commands/proxy.ts')).setProxyMode(mode, options);
  });
proxy
  .command('diff')
  .description("what a manifest would change in the nodes' kernels, before it is applied")
  .requiredOption('-f, --filename <file>', 'manifest with Services and EndpointSlices, - for standard input')
  .option('--node <node>', 'one node only')
  .addOption(nameOption())
  .addOption(kubeconfigOption())
  .addOption(outputOption())
  .action(async (options) => (await import('./commands/proxy-diff.ts')).proxyDiff(options));

program
  .command('service <name>')
  .description('frontends and endpoints of a Service, why each is in or out, and what becomes of a packet')
  .option('-n, --namespace <namespace>', 'namespace (default: default)')
  .option('--from <source>', 'follow a packet from a pod, a node or an address')
  .option('--node <node>', 'as one node sees it')
  .option('--rules', 'show what carries it on each node')
  .option('--traffic', 'show connections and packets by endpoint and node')
  .addOption(nameOption())
  .addOption(kubeconfigOption())
  .addOption(outputOption())
  .action(async (name, options) => (await import('./commands/service.ts')).service(name, options));

program
  .command('bgp')
  .description('routes between nodes by BGP (backend bgp)')
  .command('status')
  .description("show the nodes' BGP sessions and routes")
  .addOption(nameOption())
  .option('--node <node...>', 'only these nodes')
  .option('--agent <url>', 'the agent to ask, of any cluster: http://NODE:10256')
  .addOption(outputOption())
  .action(async (options) => (await import('./commands/bgp.ts')).bgpStatusCommand(options));

program
  .command('fabric')
  .description('how nodes reach the pods of each other')
  .command('status')
  .description('show peers, devices, routes, MTU and drift of each node')
  .addOption(nameOption())
  .option('--node <node...>', 'only these nodes')
  .option('--agent <url>', 'the agent to ask, of any cluster: http://NODE:10256')
  .addOption(outputOption())
  .action(async (options) => (await import('./commands/fabric.ts')).fabricStatusCommand(options));

program
  .command('route <from> <to>')
  .description('the way of a packet from pod to pod, device by device, and who decides each step')
  .option('-n, --namespace <namespace>', 'namespace of pods that are named without one (default: default)')
  .addOption(nameOption())
  .addOption(outputOption())
  .action(async (from, to, options) => (await import('./commands/route.ts')).routeCommand(from, to, options));

program
  .command('agent')
  .description('the pod network of this machine, for any cluster: CNI plugins, addresses, routes to other nodes')
  .option('--node-name <name>', "this machine's Node (default: $NODE_NAME, or the host name)")
  .option('--kubeconfig <file>', 'how to reach the API server (default: as a pod of the cluster)')
  .option('--cluster-cidr <cidrs>', 'addresses of all pods, one CIDR per family (default: those of the Nodes)')
  .option('--service-cidr <cidrs>', 'addresses of Services')
  .option(
    '--backend <backend>',
    'how pods of different nodes reach each other: vxlan, host-gw, l2, ipip, gre, geneve, udp or bgp (default: vxlan)',
  )
  .option('--direct-routing', 'no tunnel to nodes of the same subnet')
  .option('--mtu <bytes>', "pods' MTU (default: what the nodes' network leaves)", number)
  .option(
    '--encryption-key-file <file>',
    'keys of backend udp, one a line, 32 bytes in base64; the first seals, all open',
  )
  .option('--conf-dir <dir>', 'where container runtimes look for network configurations', '/etc/cni/net.d')
  .option('--bin-dir <dir>', 'where container runtimes look for plugins', '/opt/cni/bin')
  .option('--socket <path>', 'where the plugins find this process', '/run/weft/cni.sock')
  .option('--state-dir <dir>', 'journals of addresses and host ports', '/var/lib/weft/cni')
  .option('--services', 'Services too, in the place of kube-proxy')
  .option('--announce', 'answer for addresses of load balancers that the controller gives to this node')
  .option('--listen <address>', 'address of /healthz, /readyz and /metrics', '0.0.0.0:10266')
  .action(async (options) => (await import('./commands/agent.ts')).agent(options));

program
  .command('kube-proxy')
  .description('Services on this machine for any cluster, with the flags and the configuration file of kube-proxy')
  .helpOption(false)
  .allowUnknownOption()
  .passThroughOptions()
  .argument('[args...]')
  .action(async (args) => (await import('./commands/kube-proxy.ts')).kubeProxy(args));
const dns = program
  .command('dns')
  .description('the DNS server, with the command line of CoreDNS; and what it answers')
  .allowUnknownOption()
  .helpOption(false)
  .argument('[args...]')
  .action(async (args) => (await import('./commands/dns.ts')).dns(args));
dns
  .command('query <name>')
  .description("ask what a pod's resolver asks, and show which plugin answered and the objects behind the answer")
  .option('--from <pod>', 'the pod that asks, as NAMESPACE/POD (default: a pod of namespace default)')
  .option('--type <type>', 'record type', 'A')
  .addOption(nameOption())
  .addOption(kubeconfigOption())
  .addOption(outputOption())
  .action(async (name, options) => (await import('./commands/dns-query.ts')).dnsQuery(name, options));
dns
  .command('top')
  .description('watch who asks cluster DNS what, and what is asked for nothing')
  .option('--for <time>', 'how long to watch, as in 10s or 2m', '10s')
  .addOption(nameOption())
  .addOption(kubeconfigOption())
  .addOption(outputOption())
  .action(async (options) => (await import('./commands/dns-top.ts')).dnsTop(options));

addCniCommand(program);

program
  .command('dhcp')
  .description('DHCP leases of pods')
  .enablePositionalOptions()
  .command('daemon')
  .description('keep the leases of the CNI plugin "dhcp", with the flags of the reference plugin')
  .helpOption(false)
  .allowUnknownOption()
  .passThroughOptions()
  .argument('[args...]')
  .action(async (args) => (await import('./commands/dhcp.ts')).dhcpDaemon(args));
program
  .command('supervise', { hidden: true })
  .requiredOption('--cluster <name>')
  .action(async (options) => (await import('./commands/supervise.ts')).superviseCluster(options.cluster));
program
  .command('api', { hidden: true })
  .requiredOption('--cluster <name>')
  .action(async (options) => (await import('./commands/api.ts')).runApi(options.cluster));
program
  .command('perf', { hidden: true })
  .allowUnknownOption()
  .argument('[args...]')
  .action(async () => {
    throw new Error('benchmarks are run with: npm run perf');
  });
program
  .command('version')
  .description('print the version')
  .addOption(outputOption())
  .action((options: { output?: string }) => {
    process.stdout.write(
      options.output === 'json'
        ? `${JSON.stringify({ version, node: process.version })}\n`
        : `weft ${version} (Node ${process.version})\n`,
    );
  });

// A reader that has seen enough (`weft status | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode;
  else {
    printError(error, process.argv.includes('json'));
    process.exitCode = 1;
  }
}
