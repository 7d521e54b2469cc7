import { type Command, Option } from 'commander';
import type { CniVerb } from './commands/cni.ts';

const VERBS: Readonly<Record<CniVerb, string>> = {
  add: 'attach a network namespace; prints the result',
  del: 'detach a network namespace',
  check: 'compare what ADD made with what is there now',
  gc: 'free what belongs to no valid attachment; without --valid, everything this runtime remembers',
  status: 'ask whether ADD could be served now',
  version: 'print the specification versions that the plugins of a network support',
};

const HELP = `
Environment, as cnitool reads it:
  NETCONFPATH  directory of network configurations (default: /etc/cni/net.d)
  CNI_PATH     directories of plugins (default: /opt/cni/bin:/usr/lib/cni)
  CNI_ARGS     KEY=VALUE;KEY=VALUE
  CAP_ARGS     capability arguments, a JSON object
  CNI_IFNAME   name of the interface (default: eth0)
TRACEPARENT, TRACESTATE and BAGGAGE reach the plugins.`;

/** The verbs of the CNI specification as commands, with the arguments, environment and exit status of cnitool. */
export function addCniCommand(program: Command): Command {
  const cni = program.command('cni').description('attach network namespaces by CNI plugins, as container runtimes do');
  for (const [name, description] of Object.entries(VERBS)) {
    const verb = name as CniVerb;
    const attachment = verb === 'add' || verb === 'del' || verb === 'check';
    const command = cni
      .command(`${verb} <network> ${attachment ? '<netns>' : '[netns]'}`)
      .description(description)
      .option('--cache-dir <dir>', "libcni's cache directory", '/var/lib/cni')
      .addOption(new Option('-o, --output <format>', 'output format').choices(['json']))
      .addHelpText('after', HELP);
    if (attachment) command.option('-i, --ifname <name>', 'name of the interface');
    if (verb === 'gc') command.option('--valid <attachment...>', 'CONTAINERID/IFNAME to keep; "" for none at all');
    command.action(async (network, netns, options) =>
      (await import('./commands/cni.ts')).cni(verb, network, netns, options),
    );
  }
  cni
    .command('install')
    .description('put the plugins into a directory of executables, each by rename')
    .requiredOption('--bin-dir <dir>', 'directory that container runtimes look for plugins in')
    .option('--agent-socket <path>', "socket of the node's agent; without an agent the plugins work by themselves")
    .option('--replace', "also take the place of other makers' plugins of the same names")
    .addOption(new Option('-o, --output <format>', 'output format').choices(['json']))
    .action(async (options) => (await import('./commands/cni-install.ts')).cniInstall(options));
  return cni;
}
