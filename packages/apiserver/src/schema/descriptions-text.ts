/**
 * What `kubectl explain` says, in our own words: one line for each type (`Service`) or field (`ServiceSpec.ports`); `*.field`
 * is for a field of that name in any type.
 */
export const DESCRIPTIONS = `
*.apiVersion Group and version of the object, such as apps/v1.
*.kind Kind of the object, such as Deployment.
*.metadata Name, namespace, labels and everything else that all objects have.
*.spec What is wanted.
*.status What is; written by the system.
*.items The objects of the list.
*.conditions Observations of the object's state, one per type.
*.lastTransitionTime When the condition last went from one status to another.
*.reason One word that says why, for machines.
*.message Text that says why, for people.
*.observedGeneration The metadata.generation that this status is about.
*.replicas Number of pods.
*.template The pods that are made.
*.minReadySeconds Seconds a pod must be ready without a crash before it counts as available. Default 0.
*.revisionHistoryLimit How many old revisions are kept for a rollback. Default 10.
*.podSelector Selects pods by label.
*.namespaceSelector Selects namespaces by label.
*.immutable If true, the data cannot be changed any more, and this field neither.
ObjectMeta What all objects have.
ObjectMeta.annotations Key and value pairs for tools; not used to select objects.
ObjectMeta.creationTimestamp When the server made the object. Read only.
ObjectMeta.deletionGracePeriodSeconds Seconds until the object is removed. Read only.
ObjectMeta.deletionTimestamp When the object is to be gone; set by a deletion. Read only.
ObjectMeta.finalizers Names of those who must do something before the object is removed.
ObjectMeta.generateName Prefix from which the server makes a unique name when name is empty.
ObjectMeta.generation Number of the wanted state; grows with each change of it. Read only.
ObjectMeta.labels Key and value pairs by which objects are selected.
ObjectMeta.managedFields Which manager set which field; for server-side apply.
ObjectMeta.name Name, unique among objects of the kind in the namespace. Cannot be changed.
ObjectMeta.namespace Namespace the object is in. Cannot be changed.
ObjectMeta.ownerReferences Objects this one belongs to; it is deleted when they all are gone.
ObjectMeta.resourceVersion Opaque version of the object, for optimistic locking and watches. Read only.
ObjectMeta.selfLink Not used any more.
ObjectMeta.uid Identity of the object, unique in time and space. Read only.
LabelSelector Selects objects by label: all of matchLabels and matchExpressions must hold. An empty selector selects everything.
LabelSelector.matchExpressions Requirements on labels that must all hold.
LabelSelector.matchLabels Labels with the values they must have.
LabelSelectorRequirement One requirement on one label.
LabelSelectorRequirement.key Key of the label.
LabelSelectorRequirement.operator In, NotIn, Exists or DoesNotExist.
LabelSelectorRequirement.values Values for In and NotIn.
OwnerReference Points to an object in the same namespace, or a cluster-wide one, that owns this one.
OwnerReference.blockOwnerDeletion If true, a foreground deletion of the owner waits for this object.
OwnerReference.controller If true, the owner is the controller that manages this object.
OwnerReference.name Name of the owner.
OwnerReference.uid UID of the owner.
Service A name and a virtual address in front of a set of pods.
ServiceSpec What a Service offers, and which pods serve it.
ServiceSpec.allocateLoadBalancerNodePorts Whether a LoadBalancer Service gets node ports. Default true.
ServiceSpec.clusterIP Virtual address of the Service; chosen by the server when empty, "None" for a headless Service. Cannot be changed.
ServiceSpec.clusterIPs Virtual addresses, at most one per IP family; the first is clusterIP.
ServiceSpec.externalIPs Addresses for which nodes accept traffic for this Service; routing to the nodes is not managed.
ServiceSpec.externalName DNS name that an ExternalName Service is an alias of.
ServiceSpec.externalTrafficPolicy Where traffic from outside goes: Cluster to any endpoint, Local only to endpoints on the node it came to, which keeps the client's address.
ServiceSpec.healthCheckNodePort Port on which each node tells load balancers whether it has local endpoints; for LoadBalancer with externalTrafficPolicy Local.
ServiceSpec.internalTrafficPolicy Where traffic from inside goes: Cluster to any endpoint, Local only to endpoints on the same node.
ServiceSpec.ipFamilies IP families of the Service, IPv4 and IPv6, in order of preference.
ServiceSpec.ipFamilyPolicy SingleStack, PreferDualStack or RequireDualStack.
ServiceSpec.loadBalancerClass Load balancer implementation that serves this Service.
ServiceSpec.loadBalancerIP Address asked of the load balancer. Deprecated.
ServiceSpec.loadBalancerSourceRanges CIDRs of clients that the load balancer lets through.
ServiceSpec.ports Ports the Service offers.
ServiceSpec.publishNotReadyAddresses If true, pods are endpoints before they are ready.
ServiceSpec.selector Labels of the pods behind the Service. Without it, endpoints are written by hand.
ServiceSpec.sessionAffinity None, or ClientIP to keep a client at one endpoint.
ServiceSpec.sessionAffinityConfig Settings of session affinity.
ServiceSpec.trafficDistribution Preference for near endpoints: PreferSameZone (PreferClose) or PreferSameNode.
ServiceSpec.type ClusterIP (default), NodePort, LoadBalancer or ExternalName.
ServicePort A port of a Service.
ServicePort.appProtocol Application protocol, as a hint for implementations.
ServicePort.name Name, unique in the Service; may be left out when there is only one port.
ServicePort.nodePort Port on every node, for NodePort and LoadBalancer; chosen by the server when 0.
ServicePort.port Port on the Service's addresses.
ServicePort.protocol TCP (default), UDP or SCTP.
ServicePort.targetPort Port of the pods, as a number or as the name of a container port. Default: port.
ServiceStatus.loadBalancer State of the load balancer, if the Service has one.
LoadBalancerStatus.ingress Points of entry of the load balancer.
ClientIPConfig.timeoutSeconds Seconds of silence after which a client may go to another endpoint. Default 10800.
Endpoints Addresses and ports behind a Service, in one object. Superseded by EndpointSlice.
Endpoints.subsets Sets of addresses that offer the same ports.
EndpointSubset.addresses Addresses that are ready.
EndpointSubset.notReadyAddresses Addresses that are not ready yet, or not any more.
EndpointSubset.ports Ports on these addresses.
EndpointSlice A part of the endpoints of a Service, which is named by the label kubernetes.io/service-name.
EndpointSlice.addressType Kind of all addresses of the slice: IPv4, IPv6 or FQDN. Cannot be changed.
EndpointSlice.endpoints Endpoints of the slice, at most 1000.
EndpointSlice.ports Ports that every endpoint of the slice offers.
Endpoint One backend of a Service.
Endpoint.addresses Addresses of the endpoint; consumers use the first.
Endpoint.conditions Whether traffic may be sent to the endpoint.
Endpoint.hints Who should use the endpoint.
Endpoint.hostname Host name for DNS.
Endpoint.nodeName Node the endpoint is on.
Endpoint.targetRef Object that the endpoint is, usually a Pod.
Endpoint.zone Zone the endpoint is in.
EndpointConditions.ready True when the endpoint takes traffic and is not about to end. Absent means true.
EndpointConditions.serving True when the endpoint answers, even while it is about to end.
EndpointConditions.terminating True when the endpoint is about to end.
EndpointPort A port of an endpoint.
Pod One or more containers that share an address and run on one node.
PodSpec The containers of a pod and how they run.
PodSpec.activeDeadlineSeconds Seconds after which the pod is ended.
PodSpec.affinity Rules that choose the node.
PodSpec.automountServiceAccountToken Whether the token of the service account is mounted.
PodSpec.containers Containers of the pod; at least one.
PodSpec.dnsConfig Additions to the pod's resolv.conf.
PodSpec.dnsPolicy ClusterFirst (default), ClusterFirstWithHostNet, Default (the node's) or None.
PodSpec.enableServiceLinks Whether Services are announced in environment variables. Default true.
PodSpec.ephemeralContainers Containers added for debugging; by the subresource only.
PodSpec.hostAliases Entries for the pod's hosts file.
PodSpec.hostNetwork If true, the pod uses the network of its node.
PodSpec.hostname Host name of the pod. Default: its name.
PodSpec.imagePullSecrets Secrets for pulling images.
PodSpec.initContainers Containers that run one after the other, each to its end, before the others start.
PodSpec.nodeName Node the pod runs on; usually set by the scheduler.
PodSpec.nodeSelector Labels the node must have.
PodSpec.priorityClassName Class that sets the pod's priority.
PodSpec.readinessGates Conditions that must be true for the pod to be ready.
PodSpec.restartPolicy When containers are started again: Always (default), OnFailure or Never.
PodSpec.schedulerName Scheduler that places the pod.
PodSpec.securityContext Security settings of all containers.
PodSpec.serviceAccountName Service account the pod acts as. Default: default.
PodSpec.shareProcessNamespace If true, containers see each other's processes.
PodSpec.subdomain With hostname and a headless Service of this name, gives the pod a DNS name of its own.
PodSpec.terminationGracePeriodSeconds Seconds the pod gets to end before it is killed. Default 30.
PodSpec.tolerations Taints of nodes that the pod tolerates.
PodSpec.topologySpreadConstraints How pods are spread over zones, nodes and the like.
PodSpec.volumes Volumes that containers can mount.
PodStatus.hostIP Address of the node.
PodStatus.phase Pending, Running, Succeeded, Failed or Unknown.
PodStatus.podIP First address of the pod.
PodStatus.podIPs Addresses of the pod, at most one per IP family.
PodStatus.qosClass Guaranteed, Burstable or BestEffort, from requests and limits.
PodStatus.containerStatuses State of each container.
PodTemplateSpec What pods that are made from the template look like.
Container A container of a pod.
Container.args Arguments of the entry point. Default: the image's.
Container.command Entry point. Default: the image's.
Container.env Environment variables.
Container.envFrom ConfigMaps and Secrets whose entries become environment variables.
Container.image Image to run.
Container.imagePullPolicy Always, IfNotPresent or Never. Default: Always for the tag latest, else IfNotPresent.
Container.lifecycle What is done after the start and before the end.
Container.livenessProbe Probe that restarts the container when it fails.
Container.name Name, unique in the pod.
Container.ports Ports the container listens on. For information, but for host ports and names.
Container.readinessProbe Probe that takes the pod out of Services while it fails.
Container.resources CPU, memory and other resources wanted and allowed.
Container.restartPolicy Always makes an init container a sidecar.
Container.securityContext Security settings of the container.
Container.startupProbe Probe that holds the others back until it succeeds once.
Container.stdin Whether standard input stays open.
Container.tty Whether there is a terminal; needs stdin.
Container.volumeMounts Where volumes are mounted.
Container.workingDir Working directory. Default: the image's.
ContainerPort A port of a container.
ContainerPort.containerPort Port in the pod.
ContainerPort.hostIP Address of the node that hostPort is bound to.
ContainerPort.hostPort Port on the node that leads to the container.
ContainerPort.name Name that Services and probes can use.
ContainerPort.protocol TCP (default), UDP or SCTP.
EnvVar An environment variable.
EnvVar.name Name of the variable.
EnvVar.value Value; $(NAME) stands for another variable.
EnvVar.valueFrom Where the value comes from.
Probe A check of a container by a command, an HTTP request, a TCP connection or a gRPC call.
Probe.exec Command that must end with 0.
Probe.failureThreshold Failures in a row after which the probe has failed. Default 3.
Probe.grpc gRPC health check.
Probe.httpGet HTTP request that must be answered with a code from 200 to 399.
Probe.initialDelaySeconds Seconds to wait after the start.
Probe.periodSeconds Seconds between checks. Default 10.
Probe.successThreshold Successes in a row after a failure that make it good again. Default 1.
Probe.tcpSocket TCP port that must accept a connection.
Probe.terminationGracePeriodSeconds Seconds the container gets to end when the probe has failed.
Probe.timeoutSeconds Seconds to wait for the answer. Default 1.
ResourceRequirements.limits The most that is allowed.
ResourceRequirements.requests What is reserved. Default: the limits.
Volume A directory, or something that looks like one, for the containers of a pod.
Volume.configMap Files from a ConfigMap.
Volume.downwardAPI Files with facts about the pod.
Volume.emptyDir An empty directory that lives as long as the pod.
Volume.hostPath A file or directory of the node.
Volume.name Name that mounts refer to.
Volume.persistentVolumeClaim A claim in the same namespace.
Volume.projected Several sources in one directory.
Volume.secret Files from a Secret.
VolumeMount.mountPath Path in the container.
VolumeMount.name Name of the volume.
VolumeMount.readOnly Whether the mount is read only.
VolumeMount.subPath Path in the volume that is mounted. Default: its root.
Toleration.effect Effect of the taint; empty for all.
Toleration.key Key of the taint; empty for all, with operator Exists.
Toleration.operator Equal (default) or Exists.
Toleration.tolerationSeconds Seconds a NoExecute taint is tolerated. Default: for ever.
Toleration.value Value of the taint, for Equal.
Deployment Runs a number of equal pods and replaces them step by step when their template changes.
DeploymentSpec.paused If true, changes of the template are not rolled out.
DeploymentSpec.progressDeadlineSeconds Seconds without progress after which a rollout counts as failed. Default 600.
DeploymentSpec.replicas Number of pods wanted. Default 1.
DeploymentSpec.selector Label selector of the pods; must match the template's labels. Cannot be changed.
DeploymentSpec.strategy How old pods are replaced by new ones.
DeploymentStrategy.rollingUpdate Limits of a rolling update.
DeploymentStrategy.type RollingUpdate (default) or Recreate.
RollingUpdateDeployment.maxSurge Pods, or percentage of pods, that may exist beyond the number wanted. Default 25%.
RollingUpdateDeployment.maxUnavailable Pods, or percentage of pods, that may be missing. Default 25%.
ReplicaSet Keeps a number of equal pods running; usually made by a Deployment.
ReplicaSetSpec.selector Label selector of the pods; must match the template's labels. Cannot be changed.
DaemonSet Runs one pod on every node that fits.
DaemonSetSpec.selector Label selector of the pods; must match the template's labels. Cannot be changed.
DaemonSetSpec.updateStrategy How pods are replaced when the template changes.
StatefulSet Runs pods with a fixed identity: ordered names, DNS names and storage of their own.
StatefulSetSpec.podManagementPolicy OrderedReady (default): one after the other; Parallel: all at once.
StatefulSetSpec.selector Label selector of the pods; must match the template's labels. Cannot be changed.
StatefulSetSpec.serviceName Headless Service that gives the pods their DNS names.
StatefulSetSpec.updateStrategy How pods are replaced when the template changes.
StatefulSetSpec.volumeClaimTemplates Claims that every pod gets of its own.
Job Runs pods until a number of them has succeeded.
JobSpec.backoffLimit Failures after which the job has failed. Default 6.
JobSpec.completions Pods that must succeed.
JobSpec.parallelism Pods that run at one time.
JobSpec.ttlSecondsAfterFinished Seconds after its end at which the job is deleted.
CronJob Starts jobs at given times.
CronJobSpec.concurrencyPolicy Allow (default), Forbid or Replace a job that still runs.
CronJobSpec.jobTemplate The jobs that are started.
CronJobSpec.schedule When jobs are started, in cron form.
CronJobSpec.suspend If true, no more jobs are started.
Namespace A scope for names.
Node A machine that runs pods.
NodeSpec.podCIDR Range of the node's pod addresses.
NodeSpec.podCIDRs Ranges of the node's pod addresses, at most one per IP family.
NodeSpec.taints Marks that keep away pods which do not tolerate them.
NodeSpec.unschedulable If true, no new pods are placed on the node.
ConfigMap Configuration as key and value pairs.
ConfigMap.binaryData Values that are not UTF-8, in base64.
ConfigMap.data Values as text.
Secret Confidential data as key and value pairs.
Secret.data Values in base64.
Secret.stringData Values as text; written into data and never returned.
Secret.type What the secret is for. Default Opaque. Cannot be changed.
ServiceAccount An identity for pods.
Event Something that happened to an object.
Ingress Rules that lead HTTP requests from outside to Services.
IngressSpec.defaultBackend Where requests go that no rule matches.
IngressSpec.ingressClassName IngressClass that serves this Ingress.
IngressSpec.rules Rules by host and path.
IngressSpec.tls Certificates by host.
IngressRule.host Host of the requests; *.example.com for one level below; empty for any.
IngressRule.http Paths of the host.
HTTPIngressPath.backend Where matching requests go.
HTTPIngressPath.path Path that is matched.
HTTPIngressPath.pathType Exact, Prefix (by path element) or ImplementationSpecific.
IngressBackend.resource An object other than a Service.
IngressBackend.service A Service and its port.
IngressTLS.hosts Hosts the certificate is for.
IngressTLS.secretName Secret with the certificate and its key.
IngressClass A kind of Ingress controller.
IngressClassSpec.controller Controller that serves the class. Cannot be changed.
NetworkPolicy Says which traffic the selected pods may have. Pods that no policy selects may have any.
NetworkPolicySpec.egress Traffic that may leave the pods.
NetworkPolicySpec.ingress Traffic that may come to the pods.
NetworkPolicySpec.podSelector Pods the policy applies to; an empty selector is all pods of the namespace.
NetworkPolicySpec.policyTypes Directions the policy is about: Ingress, Egress or both.
NetworkPolicyIngressRule.from Peers that may send; empty for any.
NetworkPolicyIngressRule.ports Ports they may send to; empty for any.
NetworkPolicyEgressRule.ports Ports that may be sent to; empty for any.
NetworkPolicyEgressRule.to Peers that may be sent to; empty for any.
NetworkPolicyPeer Pods, by their labels and those of their namespaces, or a range of addresses.
NetworkPolicyPeer.ipBlock A range of addresses; not together with selectors.
NetworkPolicyPort.endPort Last port of a range that begins at port.
NetworkPolicyPort.port Port, as a number or a name; absent for all.
NetworkPolicyPort.protocol TCP (default), UDP or SCTP.
IPBlock.cidr Range of addresses.
IPBlock.except Ranges inside cidr that are left out.
Lease A claim of one holder for a time; for leader election and node heartbeats.
LeaseSpec.holderIdentity Who holds the lease.
LeaseSpec.leaseDurationSeconds Seconds the lease is good for after renewTime.
LeaseSpec.renewTime When the holder last renewed it.
PersistentVolume Storage in the cluster.
PersistentVolumeClaim A request for storage.
StorageClass A kind of storage that is made on demand.
CustomResourceDefinition Adds a kind to the API.
CustomResourceDefinitionSpec.group Group of the kind.
CustomResourceDefinitionSpec.names Names of the kind.
CustomResourceDefinitionSpec.scope Namespaced or Cluster.
CustomResourceDefinitionSpec.versions Versions of the kind; exactly one is stored.
Role Permissions in a namespace.
ClusterRole Permissions in the whole cluster.
RoleBinding Grants a role to subjects in a namespace.
ClusterRoleBinding Grants a cluster role to subjects in the whole cluster.
PolicyRule Verbs that are allowed on resources.
PodDisruptionBudget How many pods of a set may be evicted at one time.
HorizontalPodAutoscaler Scales a workload by metrics.
PriorityClass A priority by name.
RuntimeClass A container runtime by name.
ServiceCIDR A range of addresses for Services.
IPAddress A Service address that is taken.
Quantity A number with a suffix, such as 100m or 64Mi.
IntOrString A number or a text.
Time A time in the form of RFC 3339.
`;
