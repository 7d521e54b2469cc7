import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { Agent } from '@weft/agent';
import { KubeClient } from '@weft/kube';
import { Metrics, WeftError } from '@weft/plan';
import { distDir, homeDir, runDaemon } from '../context.ts';

export interface AgentFlags {
  readonly nodeName?: string;
  readonly kubeconfig?: string;
  readonly clusterCidr?: string;
  readonly serviceCidr?: string;
  readonly backend?: string;
  readonly directRouting?: boolean;
  readonly mtu?: number;
  readonly encryptionKeyFile?: string;
  readonly confDir: string;
  readonly binDir: string;
  readonly socket: string;
  readonly stateDir: string;
  readonly services?: boolean;
  readonly announce?: boolean;
  readonly listen: string;
}

function list(text: string | undefined): string[] {
  return (text ?? '')
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function readListen(text: string): { readonly host: string; readonly port: number } {
  const match = /^(.*):(\d+)$/.exec(text);
  const port = Number(match?.[2]);
  if (match?.[1] === undefined || port > 65_535) {
    throw new WeftError({
      code: 'AGENT_LISTEN',
      message: `--listen: "${text}" is no address with a port`,
      hint: 'for example 0.0.0.0:10266',
    });
  }
  return { host: match[1].replace(/^\[(.*)\]$/, '$1'), port };
}

/** One key a line, as a mounted Secret has them. */
function readKeys(file: string): string[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new WeftError({
      code: 'AGENT_KEY_FILE',
      message: `--encryption-key-file: ${(error as Error).message}`,
      hint: 'a file of lines with 32 random bytes in base64 each (openssl rand -base64 32)',
      cause: error,
    });
  }
  const keys = text.split(/\s+/).filter((key) => key !== '');
  // Whoever asks for encryption must not get none.
  if (keys.length === 0)
    throw new WeftError({ code: 'AGENT_KEY_FILE', message: `--encryption-key-file: ${file} has no key` });
  return keys;
}

/** The network of one machine of any cluster: CNI plugins, addresses of pods, routes to other nodes. */
export async function agent(flags: AgentFlags): Promise<void> {
  const listen = readListen(flags.listen);
  await runDaemon('agent', async (signal, log) => {
    const { kubeconfig, backend, directRouting, mtu, encryptionKeyFile, socket, confDir, binDir, stateDir } = flags;
    const client =
      kubeconfig === undefined ? KubeClient.inCluster() : await KubeClient.fromKubeconfig(path.resolve(kubeconfig));
    const clusterCidrs = list(flags.clusterCidr);
    await new Agent({
      nodeName: flags.nodeName ?? process.env['NODE_NAME'] ?? hostname().toLowerCase(),
      client,
      clusterCidrs,
      serviceCidrs: list(flags.serviceCidr),
      fabric: {
        ...(backend === undefined ? {} : { backend }),
        ...(directRouting === undefined ? {} : { directRouting }),
        ...(mtu === undefined ? {} : { mtu }),
        ...(encryptionKeyFile === undefined ? {} : { encryptionKeys: readKeys(encryptionKeyFile) }),
        ...(clusterCidrs.length === 0 ? {} : { podCidrs: clusterCidrs }),
      },
      cni: {
        confDir,
        binDir,
        socketPath: socket,
        stateDir,
        shimPrebuilt: path.join(distDir, 'cni-shim'),
        shimSourceDir: path.join(homeDir, 'native', 'cni-shim'),
      },
      services: flags.services === true,
      announce: flags.announce === true,
      listen,
      log,
      metrics: new Metrics(),
      signal,
    }).start();
  });
}
