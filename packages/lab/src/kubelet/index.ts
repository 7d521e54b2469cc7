export { type Kubelet, type KubeletOptions, startKubelet } from './kubelet.ts';
export { KUBELET_VERSION } from './node-status.ts';
