export { imagesReady, prepareImages } from './cluster/self-image.ts';
export { Supervisor, type SupervisorOptions } from './cluster/supervisor.ts';
