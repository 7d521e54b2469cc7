export { startKubelet } from './kubelet.ts';
