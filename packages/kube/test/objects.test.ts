import { describe, expect, it } from 'vitest';
import {
  allResources,
  controllerOf,
  controllerRef,
  findResource,
  formatYaml,
  groupResource,
  isControlledBy,
  isExpired,
  objectKey,
  parseApiVersion,
  parseYamlDocuments,
  resourceOfKind,
  resources,
  splitKey,
  statusErrors,
} from '../src/index.ts';

describe('resources', () => {
  it.each([
    ['po', 'pods'],
    ['Pod', 'pods'],
    ['svc', 'services'],
    ['ingresses.networking.k8s.io', 'ingresses'],
    ['deployments.v1.apps', 'deployments'],
    ['netpol', 'networkpolicies'],
  ])('%s is %s', (name, plural) => {
    expect(findResource(name)?.plural).toBe(plural);
  });

  it('are told apart by group', () => {
    expect(findResource('events')).toBe(resources.events);
    expect(findResource('events.events.k8s.io')).toBe(resources.eventsV1);
    expect(findResource('pods.apps')).toBeUndefined();
    expect(resourceOfKind('apps/v1', 'Deployment')).toBe(resources.deployments);
    expect(resourceOfKind('v1', 'Deployment')).toBeUndefined();
    expect(groupResource(resources.leases)).toBe('leases.coordination.k8s.io');
    expect(new Set(allResources.map(groupResource)).size).toBe(allResources.length);
  });
});

describe('objects', () => {
  it('have keys', () => {
    expect(objectKey({ metadata: { name: 'a', namespace: 'n' } })).toBe('n/a');
    expect(objectKey({ metadata: { name: 'a' } })).toBe('a');
    expect(splitKey('n/a')).toEqual({ namespace: 'n', name: 'a' });
    expect(splitKey('a')).toEqual({ name: 'a' });
    expect(parseApiVersion('apps/v1')).toEqual({ group: 'apps', version: 'v1' });
  });

  it('know their controller by uid', () => {
    const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: { name: 'rs', uid: '1' } };
    const owned = { metadata: { name: 'p', ownerReferences: [controllerRef(owner)] } };
    expect(controllerOf(owned)).toMatchObject({ kind: 'ReplicaSet', name: 'rs', controller: true });
    expect(isControlledBy(owned, owner)).toBe(true);
    expect(isControlledBy(owned, { metadata: { name: 'rs', uid: '2' } })).toBe(false);
    expect(isControlledBy({ metadata: { name: 'p' } }, owner)).toBe(false);
  });
});

describe('status errors', () => {
  it('say what Kubernetes says', () => {
    expect(statusErrors.notFound(resources.deployments, 'x').message).toBe('deployments.apps "x" not found');
    expect(statusErrors.alreadyExists(resources.pods, 'x').message).toBe('pods "x" already exists');
    expect(statusErrors.conflict(resources.pods, 'x').message).toBe(
      'Operation cannot be fulfilled on pods "x": the object has been modified; please apply your changes to the latest version and try again',
    );
    const one = {
      field: 'spec.clusterIP',
      message: 'Invalid value: "x": must be a valid IP address',
      reason: 'FieldValueInvalid',
    };
    expect(statusErrors.invalid(resources.services, 'x', [one]).message).toBe(
      'Service "x" is invalid: spec.clusterIP: Invalid value: "x": must be a valid IP address',
    );
    const two = statusErrors.invalid(resources.ingresses, 'x', [one, { field: 'a', message: 'Required value' }]);
    expect(two.message).toBe(
      'Ingress.networking.k8s.io "x" is invalid: [spec.clusterIP: Invalid value: "x": must be a valid IP address, a: Required value]',
    );
    expect(two.status).toMatchObject({ code: 422, reason: 'Invalid', details: { kind: 'Ingress', causes: [one, {}] } });
    expect(isExpired(statusErrors.expired('too old'))).toBe(true);
    expect(isExpired(statusErrors.badRequest('x'))).toBe(false);
  });
});

describe('YAML', () => {
  it('reads streams of documents and JSON, and leaves out empty ones', async () => {
    expect(await parseYamlDocuments('---\na: 1\n---\n# nothing\n---\n{"b": "0755", "c": 0755}\n')).toEqual([
      { a: 1 },
      { b: '0755', c: 493 },
    ]);
    expect(await parseYamlDocuments('')).toEqual([]);
  });

  it('reads scalars as kubectl does', async () => {
    const text = 'a: yes\nb: off\nc: 22:22\nd: 2024-01-02\ne: 1e3\nf: ~\ng: "no"\nh: &x {i: 1}\nj: {<<: *x, k: 2}\n';
    expect(await parseYamlDocuments(text)).toEqual([
      { a: true, b: false, c: '22:22', d: '2024-01-02', e: 1000, f: null, g: 'no', h: { i: 1 }, j: { i: 1, k: 2 } },
    ]);
  });

  it('refuses what is not YAML, with the line', async () => {
    await expect(parseYamlDocuments('a: 1\na: 2\n')).rejects.toMatchObject({ code: 'YAML_INVALID' });
    await expect(parseYamlDocuments('a: [1\nb: 2')).rejects.toThrow('line');
  });

  it('reads back what it writes', async () => {
    const objects = [{ a: 'yes', b: '1', c: 'x: y', d: ['#', '22:22', '0644', '2024-01-02'] }, { e: null }];
    expect(await parseYamlDocuments(await formatYaml(...objects))).toEqual(objects);
  });
});
