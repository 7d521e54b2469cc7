// The four experiments of the article on the Kubernetes network model, as a reader types them. Differences: `ssh $NODE`
// is `weft node exec`, and placeholders in angle brackets are filled in.
import { describe, expect, it } from 'vitest';
import { useCluster } from './support/cluster.ts';
import { mustMatch, PROMPT, until } from './support/run.ts';
import { pods } from './support/workloads.ts';

// The article captures plain ICMP on the node's eth0, so pods' packets must not be wrapped.
const cluster = useCluster({ name: 'labs', flags: ['--backend', 'host-gw', '--no-demo'] });

describe('experiment 1: a look at the network of a pod', () => {
  it('creates the pod and shows its address', async () => {
    mustMatch(await cluster.shell('kubectl run test-pod --image=nginx --restart=Never'), /^pod\/test-pod created$/m);
    await cluster.shell('kubectl wait --for=condition=Ready pod test-pod --timeout=60s', { timeoutMs: 65_000 });
    const wide = await cluster.shell('kubectl get pod test-pod -o wide');
    mustMatch(wide, /^NAME\s+READY\s+STATUS\s+RESTARTS\s+AGE\s+IP\s+NODE\s+NOMINATED NODE\s+READINESS GATES$/m);
    mustMatch(wide, /^test-pod\s+1\/1\s+Running\s+0\s+\d+s\s+10(\.\d+){3}\s+n[123]\s+<none>\s+<none>$/m);
  });

  it('gives a shell in the pod that shows links, routes and the resolver', async () => {
    const terminal = cluster.terminal(cluster.kubectlArgv(['exec', '-it', 'test-pod', '--', 'sh']));
    try {
      await terminal.waitFor(PROMPT);
      await terminal.ask('ip addr', /eth0@if\d+:[^]*inet 10(\.\d+){3}\/\d+/);
      await terminal.ask('ip route', /default via \S+ dev eth0/);
      await terminal.ask('cat /etc/resolv.conf', new RegExp(`nameserver ${cluster.dnsIp.replaceAll('.', '\\.')}`));
      expect(terminal.output).toMatch(/search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local/);
      expect(terminal.output).toMatch(/options ndots:5/);
      await terminal.ask('exit', /exit/);
      expect(await terminal.ended()).toBe(0);
    } finally {
      terminal.kill();
    }
  });
});

describe('experiment 2: following the link of a pod', () => {
  it('finds the other end on the node by its index', async () => {
    const ran = await cluster.shell(`
NODE=$(kubectl get pod test-pod -o jsonpath='{.spec.nodeName}')
INDEX=$(kubectl exec test-pod -- cat /sys/class/net/eth0/iflink)
echo "index $INDEX"
weft node exec --name ${cluster.name} $NODE -- sh -c "ip link | grep \\"^$INDEX:\\""`);
    const index = mustMatch(ran, /^index (\d+)$/m)[1];
    mustMatch(ran, new RegExp(`^${index}: \\w[^ ]*@if\\d+: <`, 'm'));
  });

  it('finds it by the route to the pod', async () => {
    const ran = await cluster.shell(`
NODE=$(kubectl get pod test-pod -o jsonpath='{.spec.nodeName}')
weft node exec --name ${cluster.name} $NODE -- ip route | grep $(kubectl get pod test-pod -o jsonpath='{.status.podIP}')`);
    mustMatch(ran, /^10(\.\d+){3} dev \w\S* (proto \S+ )?scope link/m);
  });
});

describe('experiment 3: from pod to pod', () => {
  it('pings and fetches by address', async () => {
    await cluster.shell(`
kubectl run pod-a --image=nginx --restart=Never
kubectl run pod-b --image=busybox --restart=Never --command -- sleep 3600
kubectl wait --for=condition=Ready pod/pod-a pod/pod-b --timeout=60s`);
    const ran = await cluster.shell(`
POD_A_IP=$(kubectl get pod pod-a -o jsonpath='{.status.podIP}')
kubectl exec pod-b -- ping -c 3 $POD_A_IP
kubectl exec pod-b -- wget -qO- http://$POD_A_IP`);
    mustMatch(ran, /3 packets transmitted, 3 packets received, 0% packet loss/);
    mustMatch(ran, /Welcome to nginx!/);
  });

  it('cleans up', async () => {
    const ran = await cluster.shell('kubectl delete pod pod-a pod-b', { timeoutMs: 60_000 });
    mustMatch(ran, /^pod "pod-a" deleted/m);
    mustMatch(ran, /^pod "pod-b" deleted/m);
    const left = await cluster.kubectl(['get', 'pod', 'pod-a', 'pod-b'], { check: false });
    expect(left.stderr).toMatch(/pods "pod-a" not found/);
  });
});

describe('experiment 4: watching pods of different nodes', () => {
  it('starts a pod on every node', async () => {
    const ran = await cluster.shell(`
cat << 'EOF' | kubectl apply -f -
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: network-test
spec:
  selector:
    matchLabels:
      app: network-test
  template:
    metadata:
      labels:
        app: network-test
    spec:
      containers:
      - name: test
        image: busybox
        command: ["sleep", "3600"]
EOF

kubectl wait --for=condition=Ready pod -l app=network-test

kubectl get pods -l app=network-test -o wide`);
    mustMatch(ran, /^daemonset.apps\/network-test created$/m);
    expect(ran.stdout.match(/condition met$/gm), ran.stdout).toHaveLength(3);
    for (const node of ['n1', 'n2', 'n3']) mustMatch(ran, new RegExp(`^network-test-\\w{5} .* ${node} `, 'm'));
  });

  it('captures the packets between them on the node', async () => {
    const on = async (node: string): Promise<{ name: string; ip: string }> => {
      const query = ['get', 'pods', '-l', 'app=network-test', '--field-selector', `spec.nodeName=${node}`];
      const text = await cluster.ask([...query, '-o', 'jsonpath={.items[0].metadata.name} {.items[0].status.podIP}']);
      const [name = '', ip = ''] = text.split(' ');
      return { name, ip };
    };
    const [from, to] = [await on('n1'), await on('n2')];
    const capture = cluster.terminal([
      cluster.command,
      'node',
      'exec',
      '--name',
      cluster.name,
      'n2',
      '--',
      'tcpdump',
      '-i',
      'eth0',
      'icmp',
    ]);
    try {
      await capture.waitFor(/listening on eth0/);
      const ping = await cluster.shell(`kubectl exec ${from.name} -- ping -c 3 ${to.ip}`);
      mustMatch(ping, /3 packets transmitted, 3 packets received, 0% packet loss/);
      // Addresses are the pods' own: nothing translates them on the way.
      const escaped = (ip: string): string => ip.replaceAll('.', '\\.');
      await capture.waitFor(new RegExp(`IP ${escaped(from.ip)} > ${escaped(to.ip)}: ICMP echo request`));
      await capture.waitFor(new RegExp(`IP ${escaped(to.ip)} > ${escaped(from.ip)}: ICMP echo reply`));
    } finally {
      await capture.stop('SIGINT');
    }
  });

  it('cleans up', async () => {
    mustMatch(await cluster.shell('kubectl delete ds network-test'), /^daemonset.apps "network-test" deleted/m);
    // Its pods follow: a `sleep` that is the first process of its container hears nothing for the grace period.
    await until('all pods being deleted', async () =>
      (await pods(cluster, 'app=network-test')).every((p) => p.metadata.deletionTimestamp !== undefined),
    );
  });
});
