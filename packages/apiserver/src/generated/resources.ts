// Written by scripts/generate-api-tables.mjs; edit that script instead.
// Facts from the OpenAPI and protobuf documents of Kubernetes, https://github.com/kubernetes/kubernetes (Apache-2.0).
//
// group | version | plural | kind | namespaced or cluster | verbs | short names | categories | subresources
export const RESOURCES = `|v1|bindings|Binding|n|create|||
|v1|componentstatuses|ComponentStatus|c|get,list|cs||
|v1|configmaps|ConfigMap|n|create,delete,deletecollection,get,list,patch,update,watch|cm||
|v1|endpoints|Endpoints|n|create,delete,deletecollection,get,list,patch,update,watch|ep||
|v1|events|Event|n|create,delete,deletecollection,get,list,patch,update,watch|ev||
|v1|limitranges|LimitRange|n|create,delete,deletecollection,get,list,patch,update,watch|limits||
|v1|namespaces|Namespace|c|create,delete,get,list,patch,update,watch|ns||finalize Namespace update;status Namespace get,patch,update
|v1|nodes|Node|c|create,delete,deletecollection,get,list,patch,update,watch|no||proxy NodeProxyOptions create,delete,get,patch,update;status Node get,patch,update
|v1|persistentvolumeclaims|PersistentVolumeClaim|n|create,delete,deletecollection,get,list,patch,update,watch|pvc||status PersistentVolumeClaim get,patch,update
|v1|persistentvolumes|PersistentVolume|c|create,delete,deletecollection,get,list,patch,update,watch|pv||status PersistentVolume get,patch,update
|v1|pods|Pod|n|create,delete,deletecollection,get,list,patch,update,watch|po|all|attach PodAttachOptions create,get;binding Binding create;ephemeralcontainers Pod get,patch,update;eviction Eviction create policy v1;exec PodExecOptions create,get;log Pod get;portforward PodPortForwardOptions create,get;proxy PodProxyOptions create,delete,get,patch,update;resize Pod get,patch,update;status Pod get,patch,update
|v1|podtemplates|PodTemplate|n|create,delete,deletecollection,get,list,patch,update,watch|||
|v1|replicationcontrollers|ReplicationController|n|create,delete,deletecollection,get,list,patch,update,watch|rc|all|scale Scale get,patch,update autoscaling v1;status ReplicationController get,patch,update
|v1|resourcequotas|ResourceQuota|n|create,delete,deletecollection,get,list,patch,update,watch|quota||status ResourceQuota get,patch,update
|v1|secrets|Secret|n|create,delete,deletecollection,get,list,patch,update,watch|||
|v1|serviceaccounts|ServiceAccount|n|create,delete,deletecollection,get,list,patch,update,watch|sa||token TokenRequest create authentication.k8s.io v1
|v1|services|Service|n|create,delete,deletecollection,get,list,patch,update,watch|svc|all|proxy ServiceProxyOptions create,delete,get,patch,update;status Service get,patch,update
apps|v1|controllerrevisions|ControllerRevision|n|create,delete,deletecollection,get,list,patch,update,watch|||
apps|v1|daemonsets|DaemonSet|n|create,delete,deletecollection,get,list,patch,update,watch|ds|all|status DaemonSet get,patch,update
apps|v1|deployments|Deployment|n|create,delete,deletecollection,get,list,patch,update,watch|deploy|all|scale Scale get,patch,update autoscaling v1;status Deployment get,patch,update
apps|v1|replicasets|ReplicaSet|n|create,delete,deletecollection,get,list,patch,update,watch|rs|all|scale Scale get,patch,update autoscaling v1;status ReplicaSet get,patch,update
apps|v1|statefulsets|StatefulSet|n|create,delete,deletecollection,get,list,patch,update,watch|sts|all|scale Scale get,patch,update autoscaling v1;status StatefulSet get,patch,update
events.k8s.io|v1|events|Event|n|create,delete,deletecollection,get,list,patch,update,watch|ev||
authentication.k8s.io|v1|selfsubjectreviews|SelfSubjectReview|c|create|||
authentication.k8s.io|v1|tokenreviews|TokenReview|c|create|||
authorization.k8s.io|v1|localsubjectaccessreviews|LocalSubjectAccessReview|n|create|||
authorization.k8s.io|v1|selfsubjectaccessreviews|SelfSubjectAccessReview|c|create|||
authorization.k8s.io|v1|selfsubjectrulesreviews|SelfSubjectRulesReview|c|create|||
authorization.k8s.io|v1|subjectaccessreviews|SubjectAccessReview|c|create|||
autoscaling|v2|horizontalpodautoscalers|HorizontalPodAutoscaler|n|create,delete,deletecollection,get,list,patch,update,watch|hpa|all|status HorizontalPodAutoscaler get,patch,update
autoscaling|v1|horizontalpodautoscalers|HorizontalPodAutoscaler|n|create,delete,deletecollection,get,list,patch,update,watch|hpa|all|status HorizontalPodAutoscaler get,patch,update
batch|v1|cronjobs|CronJob|n|create,delete,deletecollection,get,list,patch,update,watch|cj|all|status CronJob get,patch,update
batch|v1|jobs|Job|n|create,delete,deletecollection,get,list,patch,update,watch||all|status Job get,patch,update
certificates.k8s.io|v1|certificatesigningrequests|CertificateSigningRequest|c|create,delete,deletecollection,get,list,patch,update,watch|csr||approval CertificateSigningRequest get,patch,update;status CertificateSigningRequest get,patch,update
networking.k8s.io|v1|ingressclasses|IngressClass|c|create,delete,deletecollection,get,list,patch,update,watch|||
networking.k8s.io|v1|ingresses|Ingress|n|create,delete,deletecollection,get,list,patch,update,watch|ing||status Ingress get,patch,update
networking.k8s.io|v1|ipaddresses|IPAddress|c|create,delete,deletecollection,get,list,patch,update,watch|ip||
networking.k8s.io|v1|networkpolicies|NetworkPolicy|n|create,delete,deletecollection,get,list,patch,update,watch|netpol||
networking.k8s.io|v1|servicecidrs|ServiceCIDR|c|create,delete,deletecollection,get,list,patch,update,watch|||status ServiceCIDR get,patch,update
policy|v1|poddisruptionbudgets|PodDisruptionBudget|n|create,delete,deletecollection,get,list,patch,update,watch|pdb||status PodDisruptionBudget get,patch,update
rbac.authorization.k8s.io|v1|clusterrolebindings|ClusterRoleBinding|c|create,delete,deletecollection,get,list,patch,update,watch|||
rbac.authorization.k8s.io|v1|clusterroles|ClusterRole|c|create,delete,deletecollection,get,list,patch,update,watch|||
rbac.authorization.k8s.io|v1|rolebindings|RoleBinding|n|create,delete,deletecollection,get,list,patch,update,watch|||
rbac.authorization.k8s.io|v1|roles|Role|n|create,delete,deletecollection,get,list,patch,update,watch|||
storage.k8s.io|v1|csidrivers|CSIDriver|c|create,delete,deletecollection,get,list,patch,update,watch|||
storage.k8s.io|v1|csinodes|CSINode|c|create,delete,deletecollection,get,list,patch,update,watch|||
storage.k8s.io|v1|csistoragecapacities|CSIStorageCapacity|n|create,delete,deletecollection,get,list,patch,update,watch|||
storage.k8s.io|v1|storageclasses|StorageClass|c|create,delete,deletecollection,get,list,patch,update,watch|sc||
storage.k8s.io|v1|volumeattachments|VolumeAttachment|c|create,delete,deletecollection,get,list,patch,update,watch|||status VolumeAttachment get,patch,update
storage.k8s.io|v1|volumeattributesclasses|VolumeAttributesClass|c|create,delete,deletecollection,get,list,patch,update,watch|vac||
admissionregistration.k8s.io|v1|mutatingadmissionpolicies|MutatingAdmissionPolicy|c|create,delete,deletecollection,get,list,patch,update,watch||api-extensions|
admissionregistration.k8s.io|v1|mutatingadmissionpolicybindings|MutatingAdmissionPolicyBinding|c|create,delete,deletecollection,get,list,patch,update,watch||api-extensions|
admissionregistration.k8s.io|v1|mutatingwebhookconfigurations|MutatingWebhookConfiguration|c|create,delete,deletecollection,get,list,patch,update,watch||api-extensions|
admissionregistration.k8s.io|v1|validatingadmissionpolicies|ValidatingAdmissionPolicy|c|create,delete,deletecollection,get,list,patch,update,watch||api-extensions|status ValidatingAdmissionPolicy get,patch,update
admissionregistration.k8s.io|v1|validatingadmissionpolicybindings|ValidatingAdmissionPolicyBinding|c|create,delete,deletecollection,get,list,patch,update,watch||api-extensions|
admissionregistration.k8s.io|v1|validatingwebhookconfigurations|ValidatingWebhookConfiguration|c|create,delete,deletecollection,get,list,patch,update,watch||api-extensions|
apiextensions.k8s.io|v1|customresourcedefinitions|CustomResourceDefinition|c|create,delete,deletecollection,get,list,patch,update,watch|crd,crds|api-extensions|status CustomResourceDefinition get,patch,update
scheduling.k8s.io|v1|priorityclasses|PriorityClass|c|create,delete,deletecollection,get,list,patch,update,watch|pc||
coordination.k8s.io|v1|leases|Lease|n|create,delete,deletecollection,get,list,patch,update,watch|||
node.k8s.io|v1|runtimeclasses|RuntimeClass|c|create,delete,deletecollection,get,list,patch,update,watch|||
discovery.k8s.io|v1|endpointslices|EndpointSlice|n|create,delete,deletecollection,get,list,patch,update,watch|||`;
