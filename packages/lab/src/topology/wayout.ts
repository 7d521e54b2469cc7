import { accessSync, constants } from 'node:fs';

/** Link-local addresses of the way out, used between the router and pasta only. */
const OUR_END = '169.254.77.2';
const FAR_END = '169.254.77.1';
/** The router's link to the outside. */
export const WAY_OUT_LINK = 'out0';

/** Why there is no way out of the lab on this machine; undefined when there is one. */
export function wayOutObstacle(): string | undefined {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return 'pods cannot reach outside: /dev/net/tun is not accessible to you (as root: chmod 0666 /dev/net/tun, as udev does by default)';
  }
}

/** What stands in the way when pasta was started and does not come up; `words` is the end of its log. */
export function wayOutFailure(words: string, logFile: string): string {
  const said = words === '' ? '' : ` ("${words}")`;
  return `pods cannot reach outside: pasta does not run${said}; its log: ${logFile}; where AppArmor confines it, see docs/lab.md`;
}

/**
 * The command that gives the router's namespace a way out: pasta, a user-space NAT whose sockets are ordinary sockets
 * of the host. The host needs no forwarding, no rule and no setting, and a user without privileges has it as well. It
 * does not watch for the end of the namespace, which it would not outlive: to look at that directory is something that
 * Debian's AppArmor profile of it does not allow.
 */
export function wayOutCommand(routerPath: string): string[] {
  return [
    [
      'pasta',
      '--foreground',
      '--quiet',
      '--ipv4-only',
      '--runas',
      '0',
      '--config-net',
      '--netns-only',
      '--no-map-gw',
      '--no-netns-quit',
    ],
    ['--tcp-ports', 'none', '--udp-ports', 'none', '--tcp-ns', 'none', '--udp-ns', 'none'],
    ['--address', OUR_END, '--netmask', '255.255.255.252', '--gateway', FAR_END],
    ['--ns-ifname', WAY_OUT_LINK, '--netns', routerPath],
  ].flat();
}
