// Written by scripts/generate-api-tables.mjs; edit that script instead.
// Facts from the OpenAPI and protobuf documents of Kubernetes, https://github.com/kubernetes/kubernetes (Apache-2.0).
//
// DESCRIPTORS: type[!] | list type | list map keys | patch merge key | patch strategy | map type. Types: s string, b boolean,
// i int32, l int64, n double, y bytes in base64, x int-or-string, o object, * anything, #N type N, [ array of, { map of.
// TYPES: package and name \t field and descriptor, … \t group version kind, … \t map type.
export const PACKAGES = `io.k8s.api.admissionregistration.v1
io.k8s.api.apps.v1
io.k8s.api.authentication.v1
io.k8s.api.authorization.v1
io.k8s.api.autoscaling.v1
io.k8s.api.autoscaling.v2
io.k8s.api.batch.v1
io.k8s.api.certificates.v1
io.k8s.api.coordination.v1
io.k8s.api.core.v1
io.k8s.api.discovery.v1
io.k8s.api.events.v1
io.k8s.api.networking.v1
io.k8s.api.node.v1
io.k8s.api.policy.v1
io.k8s.api.rbac.v1
io.k8s.api.scheduling.v1
io.k8s.api.storage.v1
io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1
io.k8s.apimachinery.pkg.api.resource
io.k8s.apimachinery.pkg.apis.meta.v1
io.k8s.apimachinery.pkg.runtime
io.k8s.apimachinery.pkg.util.intstr`;
export const DESCRIPTORS = `s
s!
[#16|a
#493
#498
#11
#9
[#7!
#495
#5
#18
[#6!
[#4|m|name|name|m
[#15|a
#17
[#33|a
[s!|a
#34!
[#19|a
i
[#12|m|name|name|m
[#13!
#0
#3
[s|a
[#2|a
#27
#28
#25!
[#23!
[s!|s
[#22!
[#1|a
[#32|a
[#33|m|name|name|m
[#488|m|type
l
#21
[#29|m|name|name|m
[#30!
y
#20
#509
l!
[#35!
#40
#41
#507
[#37!
#493!
#300!
#42
[#38|m|type|type|m
i!
#54
#46
#47
[#43!
b
#48||||r
[#44|m|type|type|m
#55
#52
#53
[#49!
#300
[#50|m|type|type|m
#510
#62
#63
[#57!
#60
#61
#64
[#267|a
[#58|m|type|type|m
#56
#67
#74
#69
#70
#65
#72!
#73
{[s
[#490|a
[#494|a
#87!
#88
#75
#76
#83!
#78
#80
#85!
#89
b!
[#79!|a
[#81!|a
#93!
#94
[#91!
#90!
#96
#97
#114!
#115!
#111!
[#103|a
#482
#109!
#110
#104
[#105!
#106
[#112|a
#100!
[#107|m|type|type|m
[#113|a
#98
#101
#116
#118
#120
#99
#102
#117
#119
#121
#124!
#125
[#122!
#131!
[#265|a
#129
#130
[#126!
#132
#136
[#127|a||type|m
#138
[#135!|a
[i!|s
#133
[#134|a
[#137!|a
[s|s
#142!
#143
[#139!
y!
[#140|m|type
#146
[#144!
#497
#247
#279
#281
#265!
#334
{s
#236
[#164|m|type|type|m
[#165!
{y
[#167!
[#226|a
[#198|m|name|name|m
[#197|a
#227
#304
[#177|m|containerPort,protocol|containerPort|m
[#178|a
#321
[#179|a
#336
[#359|m|devicePath|devicePath|m
[#360|m|mountPath|mountPath|m
#180
[i|s
#182
#183
#184
{#482
[#322|m|name|name|m
#181
#186
[#361|m|mountPath|mountPath|m
#233
[#189|a
#264
#315
#265
[#192|a
[#193|a
[#194|a
[#195!
#168
#330
#199
#169
#208
#331
#272
#498!
#204
#205
[#202!
[#218|a
#510!
#228
#206
#217
#346
#350
#232
[#229!
[#230!|a
[l|a
[#301|a
[#234|a
#243
#244
[#240!
[#241|m|type|type|m
#260
#261
[#303|a
#257
{#482!
#171
#250
#187
[#245!
#256
[#259!|a
[#258|a
[s|s|||m
[#351|a
[#246|m|type|type|m
[#249|m|type|type|m
#251
#252
#253
[#176|a
#263
[#255|a
[#150|a
#262
#275
#276
#270
#271
[#267!
#356
#357
#364
{s|||||g
[#268|m|type|type|m
#238
#270!
[#266!
#147
#151
#152
#158
#160
#265|||||g
#155
#207
#209
#211
#212
#215
#221
#222
#237
#239
#362
#277
#302
#306
#307
#324
#347
#366
#296
#297
[#367|a
[#280|a
[#285|a
[#175!|a
[#278!
#149
#323
#328
[#349|a
#368
#148
[#174!|m|name|name|m
#284
[#200|m|name|name|m
[#219|m|ip|ip|m
[#236|m|name|name|m
[#174|m|name|name|m
{s|||||a
#289
[#290|a
[#291|m|name|name|mr
[#293|m|name|name|m
#294
#295
[#352|a
[#355|m|topologyKey,whenUnsatisfiable|topologyKey|m
[#358|m|name|name|mr
[#283|m|type|type|m
[#185|a
#286
[#220|a||ip|m
[#248|a
[#287|m|ip|ip|m
[#292|m|name|name|mr
[#298!
#259!
#213
[#363|a
#312
#313
[#309!
[#310|m|type|type|m
#319
#320
[#317!
#326
[#314|m|name
[#316|m|resourceID
#334!
#236!
[#327|a
[#329!
#157
#343
#344
[#236|a
[#265|m|name|name|m
[#338!
[#337!
[#342|m|port,protocol|port|m
#345
[#488|m|type|type|m
#235
#162
[#353|a
#153
#159
#161
#173
#156
#190
#191
#201
#210
#214
#216
#224
#223
#273
#305
#308
#325
#335
#348
#365
#163
#172
#188
#282
#333
#340
#225
#280!
#370
#371
[#375|a
[#376|a
[#369|a
[#372|a
[#373!
#497!
#379
[#377!
#387!
[#380!|a
#384!
[#382!
#408!
#398
#399
#397
#391
[#388!
#390
[#386!
[#395|a
[#393|a
#381
#409
#387
[#396|a
[#400|a
#394
#407
[#406|a
[#405|a
[#401!
#385
[#402|a
[#403|a
#412
#413
[#410!
#414
#417
[#415!
#489
#421
#422
[#419!
#493||||r
{#507
[#493|a
#423
[#428|a
#433!
[#434|a
[#425!
[#424!
[#430!
[#429!
[#435!
#439!
[#437!
[#448|a
#443!
#457
[#440!
[#441!|m|name|name|m
[#444!
[#354|a
[#446!
#452!
#453
[#449!
#451!
#456
[#454!
#481
#464!
#465
[#460!
#459
#463!
[#466!|a
#463
[#461|m|type
[#458|a
#470
[#477|a
#469
#467
#468
#473
#475
[#473|a
#472
{#473
{#476
[#472|a
#471
#474
n
[#479|m|rule|rule|m
#478
#480
#492
[#502|a
[#492!|a
[#483!|a
[s!
[#485!|a
[#502!|a
#507!
#501
#503
#491
[#496|a
[#499|m|uid|uid|m
#506
[#505|a
#509!`;
export const TYPES = `0 ApplyConfiguration	expression 0
0 AuditAnnotation	key 1,valueExpression 1
0 ExpressionWarning	fieldRef 1,warning 1
0 JSONPatch	expression 0
0 MatchCondition	expression 1,name 1
0 MatchResources	excludeResourceRules 2,matchPolicy 0,namespaceSelector 3,objectSelector 3,resourceRules 2		a
0 MutatingAdmissionPolicy	apiVersion 0,kind 0,metadata 4,spec 5	admissionregistration.k8s.io v1 MutatingAdmissionPolicy
0 MutatingAdmissionPolicyBinding	apiVersion 0,kind 0,metadata 4,spec 6	admissionregistration.k8s.io v1 MutatingAdmissionPolicyBinding
0 MutatingAdmissionPolicyBindingList	apiVersion 0,items 7,kind 0,metadata 8	admissionregistration.k8s.io v1 MutatingAdmissionPolicyBindingList
0 MutatingAdmissionPolicyBindingSpec	matchResources 9,paramRef 10,policyName 0
0 MutatingAdmissionPolicyList	apiVersion 0,items 11,kind 0,metadata 8	admissionregistration.k8s.io v1 MutatingAdmissionPolicyList
0 MutatingAdmissionPolicySpec	failurePolicy 0,matchConditions 12,matchConstraints 9,mutations 13,paramKind 14,reinvocationPolicy 0,variables 15
0 MutatingWebhook	admissionReviewVersions 16,clientConfig 17,failurePolicy 0,matchConditions 12,matchPolicy 0,name 1,namespaceSelector 3,objectSelector 3,reinvocationPolicy 0,rules 18,sideEffects 1,timeoutSeconds 19
0 MutatingWebhookConfiguration	apiVersion 0,kind 0,metadata 4,webhooks 20	admissionregistration.k8s.io v1 MutatingWebhookConfiguration
0 MutatingWebhookConfigurationList	apiVersion 0,items 21,kind 0,metadata 8	admissionregistration.k8s.io v1 MutatingWebhookConfigurationList
0 Mutation	applyConfiguration 22,jsonPatch 23,patchType 1
0 NamedRuleWithOperations	apiGroups 24,apiVersions 24,operations 24,resourceNames 24,resources 24,scope 0		a
0 ParamKind	apiVersion 0,kind 0		a
0 ParamRef	name 0,namespace 0,parameterNotFoundAction 0,selector 3		a
0 RuleWithOperations	apiGroups 24,apiVersions 24,operations 24,resources 24,scope 0
0 ServiceReference	name 1,namespace 1,path 0,port 19
0 TypeChecking	expressionWarnings 25
0 ValidatingAdmissionPolicy	apiVersion 0,kind 0,metadata 4,spec 26,status 27	admissionregistration.k8s.io v1 ValidatingAdmissionPolicy
0 ValidatingAdmissionPolicyBinding	apiVersion 0,kind 0,metadata 4,spec 28	admissionregistration.k8s.io v1 ValidatingAdmissionPolicyBinding
0 ValidatingAdmissionPolicyBindingList	apiVersion 0,items 29,kind 0,metadata 8	admissionregistration.k8s.io v1 ValidatingAdmissionPolicyBindingList
0 ValidatingAdmissionPolicyBindingSpec	matchResources 9,paramRef 10,policyName 1,validationActions 30
0 ValidatingAdmissionPolicyList	apiVersion 0,items 31,kind 0,metadata 8	admissionregistration.k8s.io v1 ValidatingAdmissionPolicyList
0 ValidatingAdmissionPolicySpec	auditAnnotations 32,failurePolicy 0,matchConditions 12,matchConstraints 9,paramKind 14,validations 33,variables 34
0 ValidatingAdmissionPolicyStatus	conditions 35,observedGeneration 36,typeChecking 37
0 ValidatingWebhook	admissionReviewVersions 16,clientConfig 17,failurePolicy 0,matchConditions 12,matchPolicy 0,name 1,namespaceSelector 3,objectSelector 3,rules 18,sideEffects 1,timeoutSeconds 19
0 ValidatingWebhookConfiguration	apiVersion 0,kind 0,metadata 4,webhooks 38	admissionregistration.k8s.io v1 ValidatingWebhookConfiguration
0 ValidatingWebhookConfigurationList	apiVersion 0,items 39,kind 0,metadata 8	admissionregistration.k8s.io v1 ValidatingWebhookConfigurationList
0 Validation	expression 1,message 0,messageExpression 0,reason 0
0 Variable	expression 1,name 1		a
0 WebhookClientConfig	caBundle 40,service 41,url 0
1 ControllerRevision	apiVersion 0,data 42,kind 0,metadata 4,revision 43	apps v1 ControllerRevision
1 ControllerRevisionList	apiVersion 0,items 44,kind 0,metadata 8	apps v1 ControllerRevisionList
1 DaemonSet	apiVersion 0,kind 0,metadata 4,spec 45,status 46	apps v1 DaemonSet
1 DaemonSetCondition	lastTransitionTime 47,message 0,reason 0,status 1,type 1
1 DaemonSetList	apiVersion 0,items 48,kind 0,metadata 8	apps v1 DaemonSetList
1 DaemonSetSpec	minReadySeconds 19,revisionHistoryLimit 19,selector 49,template 50,updateStrategy 51
1 DaemonSetStatus	collisionCount 19,conditions 52,currentNumberScheduled 53,desiredNumberScheduled 53,numberAvailable 19,numberMisscheduled 53,numberReady 53,numberUnavailable 19,observedGeneration 36,updatedNumberScheduled 19
1 DaemonSetUpdateStrategy	rollingUpdate 54,type 0
1 Deployment	apiVersion 0,kind 0,metadata 4,spec 55,status 56	apps v1 Deployment
1 DeploymentCondition	lastTransitionTime 47,lastUpdateTime 47,message 0,reason 0,status 1,type 1
1 DeploymentList	apiVersion 0,items 57,kind 0,metadata 8	apps v1 DeploymentList
1 DeploymentSpec	minReadySeconds 19,paused 58,progressDeadlineSeconds 19,replicas 19,revisionHistoryLimit 19,selector 49,strategy 59,template 50
1 DeploymentStatus	availableReplicas 19,collisionCount 19,conditions 60,observedGeneration 36,readyReplicas 19,replicas 19,terminatingReplicas 19,unavailableReplicas 19,updatedReplicas 19
1 DeploymentStrategy	rollingUpdate 61,type 0
1 ReplicaSet	apiVersion 0,kind 0,metadata 4,spec 62,status 63	apps v1 ReplicaSet
1 ReplicaSetCondition	lastTransitionTime 47,message 0,reason 0,status 1,type 1
1 ReplicaSetList	apiVersion 0,items 64,kind 0,metadata 8	apps v1 ReplicaSetList
1 ReplicaSetSpec	minReadySeconds 19,replicas 19,selector 49,template 65
1 ReplicaSetStatus	availableReplicas 19,conditions 66,fullyLabeledReplicas 19,observedGeneration 36,readyReplicas 19,replicas 53,terminatingReplicas 19
1 RollingUpdateDaemonSet	maxSurge 67,maxUnavailable 67
1 RollingUpdateDeployment	maxSurge 67,maxUnavailable 67
1 RollingUpdateStatefulSetStrategy	maxUnavailable 67,partition 19
1 StatefulSet	apiVersion 0,kind 0,metadata 4,spec 68,status 69	apps v1 StatefulSet
1 StatefulSetCondition	lastTransitionTime 47,message 0,reason 0,status 1,type 1
1 StatefulSetList	apiVersion 0,items 70,kind 0,metadata 8	apps v1 StatefulSetList
1 StatefulSetOrdinals	start 19
1 StatefulSetPersistentVolumeClaimRetentionPolicy	whenDeleted 0,whenScaled 0
1 StatefulSetSpec	minReadySeconds 19,ordinals 71,persistentVolumeClaimRetentionPolicy 72,podManagementPolicy 0,replicas 19,revisionHistoryLimit 19,selector 49,serviceName 0,template 50,updateStrategy 73,volumeClaimTemplates 74
1 StatefulSetStatus	availableReplicas 19,collisionCount 19,conditions 75,currentReplicas 19,currentRevision 0,observedGeneration 36,readyReplicas 19,replicas 53,updateRevision 0,updatedReplicas 19
1 StatefulSetUpdateStrategy	rollingUpdate 76,type 0
2 BoundObjectReference	apiVersion 0,kind 0,name 0,uid 0
2 SelfSubjectReview	apiVersion 0,kind 0,metadata 4,status 77	authentication.k8s.io v1 SelfSubjectReview
2 SelfSubjectReviewStatus	userInfo 78
2 TokenRequest	apiVersion 0,kind 0,metadata 4,spec 79,status 80	authentication.k8s.io v1 TokenRequest
2 TokenRequestSpec	audiences 24,boundObjectRef 81,expirationSeconds 36
2 TokenRequestStatus	expirationTimestamp 47,token 0
2 TokenReview	apiVersion 0,kind 0,metadata 4,spec 82,status 83	authentication.k8s.io v1 TokenReview
2 TokenReviewSpec	audiences 24,token 1
2 TokenReviewStatus	audiences 24,authenticated 58,error 0,user 78
2 UserInfo	extra 84,groups 24,uid 0,username 0
3 FieldSelectorAttributes	rawSelector 0,requirements 85
3 LabelSelectorAttributes	rawSelector 0,requirements 86
3 LocalSubjectAccessReview	apiVersion 0,kind 0,metadata 4,spec 87,status 88	authorization.k8s.io v1 LocalSubjectAccessReview
3 NonResourceAttributes	path 0,verb 0
3 NonResourceRule	nonResourceURLs 24,verbs 16
3 ResourceAttributes	fieldSelector 89,group 0,labelSelector 90,name 0,namespace 0,resource 0,subresource 0,verb 0,version 0
3 ResourceRule	apiGroups 24,resourceNames 24,resources 24,verbs 16
3 SelfSubjectAccessReview	apiVersion 0,kind 0,metadata 4,spec 91,status 88	authorization.k8s.io v1 SelfSubjectAccessReview
3 SelfSubjectAccessReviewSpec	nonResourceAttributes 92,resourceAttributes 93
3 SelfSubjectRulesReview	apiVersion 0,kind 0,metadata 4,spec 94,status 95	authorization.k8s.io v1 SelfSubjectRulesReview
3 SelfSubjectRulesReviewSpec	namespace 0
3 SubjectAccessReview	apiVersion 0,kind 0,metadata 4,spec 87,status 88	authorization.k8s.io v1 SubjectAccessReview
3 SubjectAccessReviewSpec	extra 84,groups 24,nonResourceAttributes 92,resourceAttributes 93,uid 0,user 0
3 SubjectAccessReviewStatus	allowed 96,denied 58,evaluationError 0,reason 0
3 SubjectRulesReviewStatus	evaluationError 0,incomplete 96,nonResourceRules 97,resourceRules 98
4 CrossVersionObjectReference	apiVersion 0,kind 1,name 1		a
4 HorizontalPodAutoscaler	apiVersion 0,kind 0,metadata 4,spec 99,status 100	autoscaling v1 HorizontalPodAutoscaler
4 HorizontalPodAutoscalerList	apiVersion 0,items 101,kind 0,metadata 8	autoscaling v1 HorizontalPodAutoscalerList
4 HorizontalPodAutoscalerSpec	maxReplicas 53,minReplicas 19,scaleTargetRef 102,targetCPUUtilizationPercentage 19
4 HorizontalPodAutoscalerStatus	currentCPUUtilizationPercentage 19,currentReplicas 53,desiredReplicas 53,lastScaleTime 47,observedGeneration 36
4 Scale	apiVersion 0,kind 0,metadata 4,spec 103,status 104	autoscaling v1 Scale
4 ScaleSpec	replicas 19
4 ScaleStatus	replicas 53,selector 0
5 ContainerResourceMetricSource	container 1,name 1,target 105
5 ContainerResourceMetricStatus	container 1,current 106,name 1
5 CrossVersionObjectReference	apiVersion 0,kind 1,name 1
5 ExternalMetricSource	metric 107,target 105
5 ExternalMetricStatus	current 106,metric 107
5 HPAScalingPolicy	periodSeconds 53,type 1,value 53
5 HPAScalingRules	policies 108,selectPolicy 0,stabilizationWindowSeconds 19,tolerance 109
5 HorizontalPodAutoscaler	apiVersion 0,kind 0,metadata 4,spec 110,status 111	autoscaling v2 HorizontalPodAutoscaler
5 HorizontalPodAutoscalerBehavior	scaleDown 112,scaleUp 112
5 HorizontalPodAutoscalerCondition	lastTransitionTime 47,message 0,reason 0,status 1,type 1
5 HorizontalPodAutoscalerList	apiVersion 0,items 113,kind 0,metadata 8	autoscaling v2 HorizontalPodAutoscalerList
5 HorizontalPodAutoscalerSpec	behavior 114,maxReplicas 53,metrics 115,minReplicas 19,scaleTargetRef 116
5 HorizontalPodAutoscalerStatus	conditions 117,currentMetrics 118,currentReplicas 19,desiredReplicas 53,lastScaleTime 47,observedGeneration 36
5 MetricIdentifier	name 1,selector 3
5 MetricSpec	containerResource 119,external 120,object 121,pods 122,resource 123,type 1
5 MetricStatus	containerResource 124,external 125,object 126,pods 127,resource 128,type 1
5 MetricTarget	averageUtilization 19,averageValue 109,type 1,value 109
5 MetricValueStatus	averageUtilization 19,averageValue 109,value 109
5 ObjectMetricSource	describedObject 116,metric 107,target 105
5 ObjectMetricStatus	current 106,describedObject 116,metric 107
5 PodsMetricSource	metric 107,target 105
5 PodsMetricStatus	current 106,metric 107
5 ResourceMetricSource	name 1,target 105
5 ResourceMetricStatus	current 106,name 1
6 CronJob	apiVersion 0,kind 0,metadata 4,spec 129,status 130	batch v1 CronJob
6 CronJobList	apiVersion 0,items 131,kind 0,metadata 8	batch v1 CronJobList
6 CronJobSpec	concurrencyPolicy 0,failedJobsHistoryLimit 19,jobTemplate 132,schedule 1,startingDeadlineSeconds 36,successfulJobsHistoryLimit 19,suspend 58,timeZone 0
6 CronJobStatus	active 133,lastScheduleTime 47,lastSuccessfulTime 47
6 Job	apiVersion 0,kind 0,metadata 4,spec 134,status 135	batch v1 Job
6 JobCondition	lastProbeTime 47,lastTransitionTime 47,message 0,reason 0,status 1,type 1
6 JobList	apiVersion 0,items 136,kind 0,metadata 8	batch v1 JobList
6 JobSpec	activeDeadlineSeconds 36,backoffLimit 19,backoffLimitPerIndex 19,completionMode 0,completions 19,managedBy 0,manualSelector 58,maxFailedIndexes 19,parallelism 19,podFailurePolicy 137,podReplacementPolicy 0,selector 3,successPolicy 138,suspend 58,template 50,ttlSecondsAfterFinished 19
6 JobStatus	active 19,completedIndexes 0,completionTime 47,conditions 139,failed 19,failedIndexes 0,ready 19,startTime 47,succeeded 19,terminating 19,uncountedTerminatedPods 140
6 JobTemplateSpec	metadata 4,spec 134
6 PodFailurePolicy	rules 141
6 PodFailurePolicyOnExitCodesRequirement	containerName 0,operator 1,values 142
6 PodFailurePolicyOnPodConditionsPattern	status 0,type 1
6 PodFailurePolicyRule	action 1,onExitCodes 143,onPodConditions 144
6 SuccessPolicy	rules 145
6 SuccessPolicyRule	succeededCount 19,succeededIndexes 0
6 UncountedTerminatedPods	failed 146,succeeded 146
7 CertificateSigningRequest	apiVersion 0,kind 0,metadata 4,spec 147,status 148	certificates.k8s.io v1 CertificateSigningRequest
7 CertificateSigningRequestCondition	lastTransitionTime 47,lastUpdateTime 47,message 0,reason 0,status 1,type 1
7 CertificateSigningRequestList	apiVersion 0,items 149,kind 0,metadata 8	certificates.k8s.io v1 CertificateSigningRequestList
7 CertificateSigningRequestSpec	expirationSeconds 19,extra 84,groups 24,request 150,signerName 1,uid 0,usages 24,username 0
7 CertificateSigningRequestStatus	certificate 40,conditions 151
8 Lease	apiVersion 0,kind 0,metadata 4,spec 152	coordination.k8s.io v1 Lease
8 LeaseList	apiVersion 0,items 153,kind 0,metadata 8	coordination.k8s.io v1 LeaseList
8 LeaseSpec	acquireTime 154,holderIdentity 0,leaseDurationSeconds 19,leaseTransitions 19,preferredHolder 0,renewTime 154,strategy 0
9 AWSElasticBlockStoreVolumeSource	fsType 0,partition 19,readOnly 58,volumeID 1
9 Affinity	nodeAffinity 155,podAffinity 156,podAntiAffinity 157
9 AppArmorProfile	localhostProfile 0,type 1
9 AttachedVolume	devicePath 1,name 1
9 AzureDiskVolumeSource	cachingMode 0,diskName 1,diskURI 1,fsType 0,kind 0,readOnly 58
9 AzureFilePersistentVolumeSource	readOnly 58,secretName 1,secretNamespace 0,shareName 1
9 AzureFileVolumeSource	readOnly 58,secretName 1,shareName 1
9 Binding	apiVersion 0,kind 0,metadata 4,target 158	 v1 Binding
9 CSIPersistentVolumeSource	controllerExpandSecretRef 159,controllerPublishSecretRef 159,driver 1,fsType 0,nodeExpandSecretRef 159,nodePublishSecretRef 159,nodeStageSecretRef 159,readOnly 58,volumeAttributes 160,volumeHandle 1
9 CSIVolumeSource	driver 1,fsType 0,nodePublishSecretRef 161,readOnly 58,volumeAttributes 160
9 Capabilities	add 24,drop 24
9 CephFSPersistentVolumeSource	monitors 16,path 0,readOnly 58,secretFile 0,secretRef 159,user 0
9 CephFSVolumeSource	monitors 16,path 0,readOnly 58,secretFile 0,secretRef 161,user 0
9 CinderPersistentVolumeSource	fsType 0,readOnly 58,secretRef 159,volumeID 1
9 CinderVolumeSource	fsType 0,readOnly 58,secretRef 161,volumeID 1
9 ClientIPConfig	timeoutSeconds 19
9 ClusterTrustBundleProjection	labelSelector 3,name 0,optional 58,path 1,signerName 0
9 ComponentCondition	error 0,message 0,status 1,type 1
9 ComponentStatus	apiVersion 0,conditions 162,kind 0,metadata 4	 v1 ComponentStatus
9 ComponentStatusList	apiVersion 0,items 163,kind 0,metadata 8	 v1 ComponentStatusList
9 ConfigMap	apiVersion 0,binaryData 164,data 160,immutable 58,kind 0,metadata 4	 v1 ConfigMap
9 ConfigMapEnvSource	name 0,optional 58
9 ConfigMapKeySelector	key 1,name 0,optional 58		a
9 ConfigMapList	apiVersion 0,items 165,kind 0,metadata 8	 v1 ConfigMapList
9 ConfigMapNodeConfigSource	kubeletConfigKey 1,name 1,namespace 1,resourceVersion 0,uid 0
9 ConfigMapProjection	items 166,name 0,optional 58
9 ConfigMapVolumeSource	defaultMode 19,items 166,name 0,optional 58
9 Container	args 24,command 24,env 167,envFrom 168,image 0,imagePullPolicy 0,lifecycle 169,livenessProbe 170,name 1,ports 171,readinessProbe 170,resizePolicy 172,resources 173,restartPolicy 0,restartPolicyRules 174,securityContext 175,startupProbe 170,stdin 58,stdinOnce 58,terminationMessagePath 0,terminationMessagePolicy 0,tty 58,volumeDevices 176,volumeMounts 177,workingDir 0
9 ContainerExtendedResourceRequest	containerName 1,requestName 1,resourceName 1
9 ContainerImage	names 24,sizeBytes 36
9 ContainerPort	containerPort 53,hostIP 0,hostPort 19,name 0,protocol 0
9 ContainerResizePolicy	resourceName 1,restartPolicy 1
9 ContainerRestartRule	action 1,exitCodes 178
9 ContainerRestartRuleOnExitCodes	operator 1,values 179
9 ContainerState	running 180,terminated 181,waiting 182
9 ContainerStateRunning	startedAt 47
9 ContainerStateTerminated	containerID 0,exitCode 53,finishedAt 47,message 0,reason 0,signal 19,startedAt 47
9 ContainerStateWaiting	message 0,reason 0
9 ContainerStatus	allocatedResources 183,allocatedResourcesStatus 184,containerID 0,image 1,imageID 1,lastState 185,name 1,ready 96,resources 173,restartCount 53,started 58,state 185,stopSignal 0,user 186,volumeMounts 187
9 ContainerUser	linux 188
9 DaemonEndpoint	Port 53
9 DownwardAPIProjection	items 189
9 DownwardAPIVolumeFile	fieldRef 190,mode 19,path 1,resourceFieldRef 191
9 DownwardAPIVolumeSource	defaultMode 19,items 189
9 EmptyDirVolumeSource	medium 0,sizeLimit 109
9 EndpointAddress	hostname 0,ip 1,nodeName 0,targetRef 192		a
9 EndpointPort	appProtocol 0,name 0,port 53,protocol 0		a
9 EndpointSubset	addresses 193,notReadyAddresses 193,ports 194
9 Endpoints	apiVersion 0,kind 0,metadata 4,subsets 195	 v1 Endpoints
9 EndpointsList	apiVersion 0,items 196,kind 0,metadata 8	 v1 EndpointsList
9 EnvFromSource	configMapRef 197,prefix 0,secretRef 198
9 EnvVar	name 1,value 0,valueFrom 199
9 EnvVarSource	configMapKeyRef 200,fieldRef 190,fileKeyRef 201,resourceFieldRef 191,secretKeyRef 202
9 EphemeralContainer	args 24,command 24,env 167,envFrom 168,image 0,imagePullPolicy 0,lifecycle 169,livenessProbe 170,name 1,ports 171,readinessProbe 170,resizePolicy 172,resources 173,restartPolicy 0,restartPolicyRules 174,securityContext 175,startupProbe 170,stdin 58,stdinOnce 58,targetContainerName 0,terminationMessagePath 0,terminationMessagePolicy 0,tty 58,volumeDevices 176,volumeMounts 177,workingDir 0
9 EphemeralVolumeSource	volumeClaimTemplate 203
9 Event	action 0,apiVersion 0,count 19,eventTime 154,firstTimestamp 47,involvedObject 158,kind 0,lastTimestamp 47,message 0,metadata 204,reason 0,related 192,reportingComponent 0,reportingInstance 0,series 205,source 206,type 0	 v1 Event
9 EventList	apiVersion 0,items 207,kind 0,metadata 8	 v1 EventList
9 EventSeries	count 19,lastObservedTime 154
9 EventSource	component 0,host 0
9 ExecAction	command 24
9 FCVolumeSource	fsType 0,lun 19,readOnly 58,targetWWNs 24,wwids 24
9 FileKeySelector	key 1,optional 58,path 1,volumeName 1		a
9 FlexPersistentVolumeSource	driver 1,fsType 0,options 160,readOnly 58,secretRef 159
9 FlexVolumeSource	driver 1,fsType 0,options 160,readOnly 58,secretRef 161
9 FlockerVolumeSource	datasetName 0,datasetUUID 0
9 GCEPersistentDiskVolumeSource	fsType 0,partition 19,pdName 1,readOnly 58
9 GRPCAction	port 53,service 0
9 GitRepoVolumeSource	directory 0,repository 1,revision 0
9 GlusterfsPersistentVolumeSource	endpoints 1,endpointsNamespace 0,path 1,readOnly 58
9 GlusterfsVolumeSource	endpoints 1,path 1,readOnly 58
9 HTTPGetAction	host 0,httpHeaders 208,path 0,port 209,scheme 0
9 HTTPHeader	name 1,value 1
9 HostAlias	hostnames 24,ip 1
9 HostIP	ip 1
9 HostPathVolumeSource	path 1,type 0
9 ISCSIPersistentVolumeSource	chapAuthDiscovery 58,chapAuthSession 58,fsType 0,initiatorName 0,iqn 1,iscsiInterface 0,lun 53,portals 24,readOnly 58,secretRef 159,targetPortal 1
9 ISCSIVolumeSource	chapAuthDiscovery 58,chapAuthSession 58,fsType 0,initiatorName 0,iqn 1,iscsiInterface 0,lun 53,portals 24,readOnly 58,secretRef 161,targetPortal 1
9 ImageVolumeSource	pullPolicy 0,reference 0
9 ImageVolumeStatus	imageRef 1
9 KeyToPath	key 1,mode 19,path 1
9 Lifecycle	postStart 210,preStop 210,stopSignal 0
9 LifecycleHandler	exec 211,httpGet 212,sleep 213,tcpSocket 214
9 LimitRange	apiVersion 0,kind 0,metadata 4,spec 215	 v1 LimitRange
9 LimitRangeItem	default 183,defaultRequest 183,max 183,maxLimitRequestRatio 183,min 183,type 1
9 LimitRangeList	apiVersion 0,items 216,kind 0,metadata 8	 v1 LimitRangeList
9 LimitRangeSpec	limits 217
9 LinuxContainerUser	gid 43,supplementalGroups 218,uid 43
9 LoadBalancerIngress	hostname 0,ip 0,ipMode 0,ports 219
9 LoadBalancerStatus	ingress 220
9 LocalObjectReference	name 0		a
9 LocalVolumeSource	fsType 0,path 1
9 ModifyVolumeStatus	status 1,targetVolumeAttributesClassName 0
9 NFSVolumeSource	path 1,readOnly 58,server 1
9 Namespace	apiVersion 0,kind 0,metadata 4,spec 221,status 222	 v1 Namespace
9 NamespaceCondition	lastTransitionTime 47,message 0,reason 0,status 1,type 1
9 NamespaceList	apiVersion 0,items 223,kind 0,metadata 8	 v1 NamespaceList
9 NamespaceSpec	finalizers 24
9 NamespaceStatus	conditions 224,phase 0
9 Node	apiVersion 0,kind 0,metadata 4,spec 225,status 226	 v1 Node
9 NodeAddress	address 1,type 1
9 NodeAffinity	preferredDuringSchedulingIgnoredDuringExecution 227,requiredDuringSchedulingIgnoredDuringExecution 228
9 NodeAllocatableResourceClaimStatus	containers 146,resourceClaimName 1,resources 229
9 NodeCondition	lastHeartbeatTime 47,lastTransitionTime 47,message 0,reason 0,status 1,type 1
9 NodeConfigSource	configMap 230
9 NodeConfigStatus	active 231,assigned 231,error 0,lastKnownGood 231
9 NodeDaemonEndpoints	kubeletEndpoint 232
9 NodeFeatures	supplementalGroupsPolicy 58
9 NodeList	apiVersion 0,items 233,kind 0,metadata 8	 v1 NodeList
9 NodeRuntimeHandler	features 234,name 0
9 NodeRuntimeHandlerFeatures	recursiveReadOnlyMounts 58,userNamespaces 58
9 NodeSelector	nodeSelectorTerms 235		a
9 NodeSelectorRequirement	key 1,operator 1,values 24
9 NodeSelectorTerm	matchExpressions 236,matchFields 236		a
9 NodeSpec	configSource 231,externalID 0,podCIDR 0,podCIDRs 237,providerID 0,taints 238,unschedulable 58
9 NodeStatus	addresses 239,allocatable 183,capacity 183,conditions 240,config 241,daemonEndpoints 242,declaredFeatures 24,features 243,images 244,nodeInfo 245,phase 0,runtimeHandlers 246,volumesAttached 247,volumesInUse 24
9 NodeSwapStatus	capacity 36
9 NodeSystemInfo	architecture 1,bootID 1,containerRuntimeVersion 1,kernelVersion 1,kubeProxyVersion 1,kubeletVersion 1,machineID 1,operatingSystem 1,osImage 1,swap 248,systemUUID 1
9 ObjectFieldSelector	apiVersion 0,fieldPath 1		a
9 ObjectReference	apiVersion 0,fieldPath 0,kind 0,name 0,namespace 0,resourceVersion 0,uid 0		a
9 PersistentVolume	apiVersion 0,kind 0,metadata 4,spec 249,status 250	 v1 PersistentVolume
9 PersistentVolumeClaim	apiVersion 0,kind 0,metadata 4,spec 251,status 252	 v1 PersistentVolumeClaim
9 PersistentVolumeClaimCondition	lastProbeTime 47,lastTransitionTime 47,message 0,reason 0,status 1,type 1
9 PersistentVolumeClaimList	apiVersion 0,items 253,kind 0,metadata 8	 v1 PersistentVolumeClaimList
9 PersistentVolumeClaimSpec	accessModes 24,dataSource 254,dataSourceRef 255,resources 256,selector 3,storageClassName 0,volumeAttributesClassName 0,volumeMode 0,volumeName 0
9 PersistentVolumeClaimStatus	accessModes 24,allocatedResourceStatuses 257,allocatedResources 183,capacity 183,conditions 258,currentVolumeAttributesClassName 0,modifyVolumeStatus 259,phase 0
9 PersistentVolumeClaimTemplate	metadata 4,spec 260
9 PersistentVolumeClaimVolumeSource	claimName 1,readOnly 58
9 PersistentVolumeList	apiVersion 0,items 261,kind 0,metadata 8	 v1 PersistentVolumeList
9 PersistentVolumeSpec	accessModes 24,awsElasticBlockStore 262,azureDisk 263,azureFile 264,capacity 183,cephfs 265,cinder 266,claimRef 267,csi 268,fc 269,flexVolume 270,flocker 271,gcePersistentDisk 272,glusterfs 273,hostPath 274,iscsi 275,local 276,mountOptions 24,nfs 277,nodeAffinity 278,persistentVolumeReclaimPolicy 0,photonPersistentDisk 279,portworxVolume 280,quobyte 281,rbd 282,scaleIO 283,storageClassName 0,storageos 284,volumeAttributesClassName 0,volumeMode 0,vsphereVolume 285
9 PersistentVolumeStatus	lastPhaseTransitionTime 47,message 0,phase 0,reason 0
9 PhotonPersistentDiskVolumeSource	fsType 0,pdID 1
9 Pod	apiVersion 0,kind 0,metadata 4,spec 286,status 287	 v1 Pod
9 PodAffinity	preferredDuringSchedulingIgnoredDuringExecution 288,requiredDuringSchedulingIgnoredDuringExecution 289
9 PodAffinityTerm	labelSelector 3,matchLabelKeys 24,mismatchLabelKeys 24,namespaceSelector 3,namespaces 24,topologyKey 1
9 PodAntiAffinity	preferredDuringSchedulingIgnoredDuringExecution 288,requiredDuringSchedulingIgnoredDuringExecution 289
9 PodCertificateProjection	certificateChainPath 0,credentialBundlePath 0,keyPath 0,keyType 1,maxExpirationSeconds 19,signerName 1,userAnnotations 160
9 PodCondition	lastProbeTime 47,lastTransitionTime 47,message 0,observedGeneration 36,reason 0,status 1,type 1
9 PodDNSConfig	nameservers 24,options 290,searches 24
9 PodDNSConfigOption	name 0,value 0
9 PodExtendedResourceClaimStatus	requestMappings 291,resourceClaimName 1
9 PodIP	ip 1
9 PodList	apiVersion 0,items 292,kind 0,metadata 8	 v1 PodList
9 PodOS	name 1
9 PodReadinessGate	conditionType 1
9 PodResourceClaim	name 1,resourceClaimName 0,resourceClaimTemplateName 0
9 PodResourceClaimStatus	name 1,resourceClaimName 0
9 PodSchedulingGate	name 1
9 PodSchedulingGroup	podGroupName 0
9 PodSecurityContext	appArmorProfile 293,fsGroup 36,fsGroupChangePolicy 0,runAsGroup 36,runAsNonRoot 58,runAsUser 36,seLinuxChangePolicy 0,seLinuxOptions 294,seccompProfile 295,supplementalGroups 218,supplementalGroupsPolicy 0,sysctls 296,windowsOptions 297
9 PodSpec	activeDeadlineSeconds 36,affinity 298,automountServiceAccountToken 58,containers 299,dnsConfig 300,dnsPolicy 0,enableServiceLinks 58,ephemeralContainers 301,hostAliases 302,hostIPC 58,hostNetwork 58,hostPID 58,hostUsers 58,hostname 0,hostnameOverride 0,imagePullSecrets 303,initContainers 304,nodeName 0,nodeSelector 305,os 306,overhead 183,preemptionPolicy 0,priority 19,priorityClassName 0,readinessGates 307,resourceClaims 308,resources 173,restartPolicy 0,runtimeClassName 0,schedulerName 0,schedulingGates 309,schedulingGroup 310,securityContext 311,serviceAccount 0,serviceAccountName 0,setHostnameAsFQDN 58,shareProcessNamespace 58,subdomain 0,terminationGracePeriodSeconds 36,tolerations 312,topologySpreadConstraints 313,volumes 314
9 PodStatus	allocatedResources 183,conditions 315,containerStatuses 316,ephemeralContainerStatuses 316,extendedResourceClaimStatus 317,hostIP 0,hostIPs 318,initContainerStatuses 316,message 0,nodeAllocatableResourceClaimStatuses 319,nominatedNodeName 0,observedGeneration 36,phase 0,podIP 0,podIPs 320,qosClass 0,reason 0,resize 0,resourceClaimStatuses 321,resources 173,startTime 47
9 PodTemplate	apiVersion 0,kind 0,metadata 4,template 65	 v1 PodTemplate
9 PodTemplateList	apiVersion 0,items 322,kind 0,metadata 8	 v1 PodTemplateList
9 PodTemplateSpec	metadata 4,spec 286
9 PortStatus	error 0,port 53,protocol 1
9 PortworxVolumeSource	fsType 0,readOnly 58,volumeID 1
9 PreferredSchedulingTerm	preference 323,weight 53
9 Probe	exec 211,failureThreshold 19,grpc 324,httpGet 212,initialDelaySeconds 19,periodSeconds 19,successThreshold 19,tcpSocket 214,terminationGracePeriodSeconds 36,timeoutSeconds 19
9 ProjectedVolumeSource	defaultMode 19,sources 325
9 QuobyteVolumeSource	group 0,readOnly 58,registry 1,tenant 0,user 0,volume 1
9 RBDPersistentVolumeSource	fsType 0,image 1,keyring 0,monitors 16,pool 0,readOnly 58,secretRef 159,user 0
9 RBDVolumeSource	fsType 0,image 1,keyring 0,monitors 16,pool 0,readOnly 58,secretRef 161,user 0
9 ReplicationController	apiVersion 0,kind 0,metadata 4,spec 326,status 327	 v1 ReplicationController
9 ReplicationControllerCondition	lastTransitionTime 47,message 0,reason 0,status 1,type 1
9 ReplicationControllerList	apiVersion 0,items 328,kind 0,metadata 8	 v1 ReplicationControllerList
9 ReplicationControllerSpec	minReadySeconds 19,replicas 19,selector 305,template 65
9 ReplicationControllerStatus	availableReplicas 19,conditions 329,fullyLabeledReplicas 19,observedGeneration 36,readyReplicas 19,replicas 53
9 ResourceClaim	name 1,request 0
9 ResourceFieldSelector	containerName 0,divisor 109,resource 1		a
9 ResourceHealth	health 0,message 0,resourceID 1
9 ResourceQuota	apiVersion 0,kind 0,metadata 4,spec 330,status 331	 v1 ResourceQuota
9 ResourceQuotaList	apiVersion 0,items 332,kind 0,metadata 8	 v1 ResourceQuotaList
9 ResourceQuotaSpec	hard 183,scopeSelector 333,scopes 24
9 ResourceQuotaStatus	hard 183,used 183
9 ResourceRequirements	claims 334,limits 183,requests 183
9 ResourceStatus	name 1,resources 335
9 SELinuxOptions	level 0,role 0,type 0,user 0
9 ScaleIOPersistentVolumeSource	fsType 0,gateway 1,protectionDomain 0,readOnly 58,secretRef 336,sslEnabled 58,storageMode 0,storagePool 0,system 1,volumeName 0
9 ScaleIOVolumeSource	fsType 0,gateway 1,protectionDomain 0,readOnly 58,secretRef 337,sslEnabled 58,storageMode 0,storagePool 0,system 1,volumeName 0
9 ScopeSelector	matchExpressions 338		a
9 ScopedResourceSelectorRequirement	operator 1,scopeName 1,values 24
9 SeccompProfile	localhostProfile 0,type 1
9 Secret	apiVersion 0,data 164,immutable 58,kind 0,metadata 4,stringData 160,type 0	 v1 Secret
9 SecretEnvSource	name 0,optional 58
9 SecretKeySelector	key 1,name 0,optional 58		a
9 SecretList	apiVersion 0,items 339,kind 0,metadata 8	 v1 SecretList
9 SecretProjection	items 166,name 0,optional 58
9 SecretReference	name 0,namespace 0		a
9 SecretVolumeSource	defaultMode 19,items 166,optional 58,secretName 0
9 SecurityContext	allowPrivilegeEscalation 58,appArmorProfile 293,capabilities 340,privileged 58,procMount 0,readOnlyRootFilesystem 58,runAsGroup 36,runAsNonRoot 58,runAsUser 36,seLinuxOptions 294,seccompProfile 295,windowsOptions 297
9 Service	apiVersion 0,kind 0,metadata 4,spec 341,status 342	 v1 Service
9 ServiceAccount	apiVersion 0,automountServiceAccountToken 58,imagePullSecrets 343,kind 0,metadata 4,secrets 344	 v1 ServiceAccount
9 ServiceAccountList	apiVersion 0,items 345,kind 0,metadata 8	 v1 ServiceAccountList
9 ServiceAccountTokenProjection	audience 0,expirationSeconds 36,path 1
9 ServiceList	apiVersion 0,items 346,kind 0,metadata 8	 v1 ServiceList
9 ServicePort	appProtocol 0,name 0,nodePort 19,port 53,protocol 0,targetPort 67
9 ServiceSpec	allocateLoadBalancerNodePorts 58,clusterIP 0,clusterIPs 24,externalIPs 24,externalName 0,externalTrafficPolicy 0,healthCheckNodePort 19,internalTrafficPolicy 0,ipFamilies 24,ipFamilyPolicy 0,loadBalancerClass 0,loadBalancerIP 0,loadBalancerSourceRanges 24,ports 347,publishNotReadyAddresses 58,selector 305,sessionAffinity 0,sessionAffinityConfig 348,trafficDistribution 0,type 0
9 ServiceStatus	conditions 349,loadBalancer 350
9 SessionAffinityConfig	clientIP 351
9 SleepAction	seconds 43
9 StorageOSPersistentVolumeSource	fsType 0,readOnly 58,secretRef 192,volumeName 0,volumeNamespace 0
9 StorageOSVolumeSource	fsType 0,readOnly 58,secretRef 161,volumeName 0,volumeNamespace 0
9 Sysctl	name 1,value 1
9 TCPSocketAction	host 0,port 209
9 Taint	effect 1,key 1,timeAdded 47,value 0
9 Toleration	effect 0,key 0,operator 0,tolerationSeconds 36,value 0
9 TopologySelectorLabelRequirement	key 1,values 16
9 TopologySelectorTerm	matchLabelExpressions 352		a
9 TopologySpreadConstraint	labelSelector 3,matchLabelKeys 24,maxSkew 53,minDomains 19,nodeAffinityPolicy 0,nodeTaintsPolicy 0,topologyKey 1,whenUnsatisfiable 1
9 TypedLocalObjectReference	apiGroup 0,kind 1,name 1		a
9 TypedObjectReference	apiGroup 0,kind 1,name 1,namespace 0
9 Volume	awsElasticBlockStore 262,azureDisk 263,azureFile 353,cephfs 354,cinder 355,configMap 356,csi 357,downwardAPI 358,emptyDir 359,ephemeral 360,fc 269,flexVolume 361,flocker 271,gcePersistentDisk 272,gitRepo 362,glusterfs 363,hostPath 274,image 364,iscsi 365,name 1,nfs 277,persistentVolumeClaim 366,photonPersistentDisk 279,portworxVolume 280,projected 367,quobyte 281,rbd 368,scaleIO 369,secret 370,storageos 371,vsphereVolume 285
9 VolumeDevice	devicePath 1,name 1
9 VolumeMount	mountPath 1,mountPropagation 0,name 1,readOnly 58,recursiveReadOnly 0,subPath 0,subPathExpr 0
9 VolumeMountStatus	mountPath 1,name 1,readOnly 58,recursiveReadOnly 0,volumeStatus 372
9 VolumeNodeAffinity	required 228
9 VolumeProjection	clusterTrustBundle 373,configMap 374,downwardAPI 375,podCertificate 376,secret 377,serviceAccountToken 378
9 VolumeResourceRequirements	limits 183,requests 183
9 VolumeStatus	image 379
9 VsphereVirtualDiskVolumeSource	fsType 0,storagePolicyID 0,storagePolicyName 0,volumePath 1
9 WeightedPodAffinityTerm	podAffinityTerm 380,weight 53
9 WindowsSecurityContextOptions	gmsaCredentialSpec 0,gmsaCredentialSpecName 0,hostProcess 58,runAsUserName 0
10 Endpoint	addresses 30,conditions 381,deprecatedTopology 160,hints 382,hostname 0,nodeName 0,targetRef 192,zone 0
10 EndpointConditions	ready 58,serving 58,terminating 58
10 EndpointHints	forNodes 383,forZones 384
10 EndpointPort	appProtocol 0,name 0,port 19,protocol 0		a
10 EndpointSlice	addressType 1,apiVersion 0,endpoints 385,kind 0,metadata 4,ports 386	discovery.k8s.io v1 EndpointSlice
10 EndpointSliceList	apiVersion 0,items 387,kind 0,metadata 8	discovery.k8s.io v1 EndpointSliceList
10 ForNode	name 1
10 ForZone	name 1
11 Event	action 0,apiVersion 0,deprecatedCount 19,deprecatedFirstTimestamp 47,deprecatedLastTimestamp 47,deprecatedSource 206,eventTime 388,kind 0,metadata 4,note 0,reason 0,regarding 192,related 192,reportingController 0,reportingInstance 0,series 389,type 0	events.k8s.io v1 Event
11 EventList	apiVersion 0,items 390,kind 0,metadata 8	events.k8s.io v1 EventList
11 EventSeries	count 53,lastObservedTime 388
12 HTTPIngressPath	backend 391,path 0,pathType 1
12 HTTPIngressRuleValue	paths 392
12 IPAddress	apiVersion 0,kind 0,metadata 4,spec 393	networking.k8s.io v1 IPAddress
12 IPAddressList	apiVersion 0,items 394,kind 0,metadata 8	networking.k8s.io v1 IPAddressList
12 IPAddressSpec	parentRef 395
12 IPBlock	cidr 1,except 24
12 Ingress	apiVersion 0,kind 0,metadata 4,spec 396,status 397	networking.k8s.io v1 Ingress
12 IngressBackend	resource 254,service 398
12 IngressClass	apiVersion 0,kind 0,metadata 4,spec 399	networking.k8s.io v1 IngressClass
12 IngressClassList	apiVersion 0,items 400,kind 0,metadata 8	networking.k8s.io v1 IngressClassList
12 IngressClassParametersReference	apiGroup 0,kind 1,name 1,namespace 0,scope 0
12 IngressClassSpec	controller 0,parameters 401
12 IngressList	apiVersion 0,items 402,kind 0,metadata 8	networking.k8s.io v1 IngressList
12 IngressLoadBalancerIngress	hostname 0,ip 0,ports 403
12 IngressLoadBalancerStatus	ingress 404
12 IngressPortStatus	error 0,port 53,protocol 1
12 IngressRule	host 0,http 405
12 IngressServiceBackend	name 1,port 406
12 IngressSpec	defaultBackend 407,ingressClassName 0,rules 408,tls 409
12 IngressStatus	loadBalancer 410
12 IngressTLS	hosts 24,secretName 0
12 NetworkPolicy	apiVersion 0,kind 0,metadata 4,spec 411	networking.k8s.io v1 NetworkPolicy
12 NetworkPolicyEgressRule	ports 412,to 413
12 NetworkPolicyIngressRule	from 413,ports 412
12 NetworkPolicyList	apiVersion 0,items 414,kind 0,metadata 8	networking.k8s.io v1 NetworkPolicyList
12 NetworkPolicyPeer	ipBlock 415,namespaceSelector 3,podSelector 3
12 NetworkPolicyPort	endPort 19,port 67,protocol 0
12 NetworkPolicySpec	egress 416,ingress 417,podSelector 3,policyTypes 24
12 ParentReference	group 0,name 1,namespace 0,resource 1
12 ServiceBackendPort	name 0,number 19		a
12 ServiceCIDR	apiVersion 0,kind 0,metadata 4,spec 418,status 419	networking.k8s.io v1 ServiceCIDR
12 ServiceCIDRList	apiVersion 0,items 420,kind 0,metadata 8	networking.k8s.io v1 ServiceCIDRList
12 ServiceCIDRSpec	cidrs 24
12 ServiceCIDRStatus	conditions 349
13 Overhead	podFixed 183
13 RuntimeClass	apiVersion 0,handler 1,kind 0,metadata 4,overhead 421,scheduling 422	node.k8s.io v1 RuntimeClass
13 RuntimeClassList	apiVersion 0,items 423,kind 0,metadata 8	node.k8s.io v1 RuntimeClassList
13 Scheduling	nodeSelector 305,tolerations 312
14 Eviction	apiVersion 0,deleteOptions 424,kind 0,metadata 4	policy v1 Eviction
14 PodDisruptionBudget	apiVersion 0,kind 0,metadata 4,spec 425,status 426	policy v1 PodDisruptionBudget
14 PodDisruptionBudgetList	apiVersion 0,items 427,kind 0,metadata 8	policy v1 PodDisruptionBudgetList
14 PodDisruptionBudgetSpec	maxUnavailable 67,minAvailable 67,selector 428,unhealthyPodEvictionPolicy 0
14 PodDisruptionBudgetStatus	conditions 349,currentHealthy 19,desiredHealthy 19,disruptedPods 429,disruptionsAllowed 19,expectedPods 19,observedGeneration 36
15 AggregationRule	clusterRoleSelectors 430
15 ClusterRole	aggregationRule 431,apiVersion 0,kind 0,metadata 4,rules 432	rbac.authorization.k8s.io v1 ClusterRole
15 ClusterRoleBinding	apiVersion 0,kind 0,metadata 4,roleRef 433,subjects 434	rbac.authorization.k8s.io v1 ClusterRoleBinding
15 ClusterRoleBindingList	apiVersion 0,items 435,kind 0,metadata 8	rbac.authorization.k8s.io v1 ClusterRoleBindingList
15 ClusterRoleList	apiVersion 0,items 436,kind 0,metadata 8	rbac.authorization.k8s.io v1 ClusterRoleList
15 PolicyRule	apiGroups 24,nonResourceURLs 24,resourceNames 24,resources 24,verbs 16
15 Role	apiVersion 0,kind 0,metadata 4,rules 432	rbac.authorization.k8s.io v1 Role
15 RoleBinding	apiVersion 0,kind 0,metadata 4,roleRef 433,subjects 434	rbac.authorization.k8s.io v1 RoleBinding
15 RoleBindingList	apiVersion 0,items 437,kind 0,metadata 8	rbac.authorization.k8s.io v1 RoleBindingList
15 RoleList	apiVersion 0,items 438,kind 0,metadata 8	rbac.authorization.k8s.io v1 RoleList
15 RoleRef	apiGroup 0,kind 1,name 1		a
15 Subject	apiGroup 0,kind 1,name 1,namespace 0		a
16 PriorityClass	apiVersion 0,description 0,globalDefault 58,kind 0,metadata 4,preemptionPolicy 0,value 19	scheduling.k8s.io v1 PriorityClass
16 PriorityClassList	apiVersion 0,items 439,kind 0,metadata 8	scheduling.k8s.io v1 PriorityClassList
17 CSIDriver	apiVersion 0,kind 0,metadata 4,spec 440	storage.k8s.io v1 CSIDriver
17 CSIDriverList	apiVersion 0,items 441,kind 0,metadata 8	storage.k8s.io v1 CSIDriverList
17 CSIDriverSpec	attachRequired 58,fsGroupPolicy 0,nodeAllocatableUpdatePeriodSeconds 36,podInfoOnMount 58,preventPodSchedulingIfMissing 58,requiresRepublish 58,seLinuxMount 58,serviceAccountTokenInSecrets 58,storageCapacity 58,tokenRequests 442,volumeLifecycleModes 146
17 CSINode	apiVersion 0,kind 0,metadata 4,spec 443	storage.k8s.io v1 CSINode
17 CSINodeDriver	allocatable 444,name 1,nodeID 1,topologyKeys 24
17 CSINodeList	apiVersion 0,items 445,kind 0,metadata 8	storage.k8s.io v1 CSINodeList
17 CSINodeSpec	drivers 446
17 CSIStorageCapacity	apiVersion 0,capacity 109,kind 0,maximumVolumeSize 109,metadata 4,nodeTopology 3,storageClassName 1	storage.k8s.io v1 CSIStorageCapacity
17 CSIStorageCapacityList	apiVersion 0,items 447,kind 0,metadata 8	storage.k8s.io v1 CSIStorageCapacityList
17 StorageClass	allowVolumeExpansion 58,allowedTopologies 448,apiVersion 0,kind 0,metadata 4,mountOptions 24,parameters 160,provisioner 1,reclaimPolicy 0,volumeBindingMode 0	storage.k8s.io v1 StorageClass
17 StorageClassList	apiVersion 0,items 449,kind 0,metadata 8	storage.k8s.io v1 StorageClassList
17 TokenRequest	audience 1,expirationSeconds 36
17 VolumeAttachment	apiVersion 0,kind 0,metadata 4,spec 450,status 451	storage.k8s.io v1 VolumeAttachment
17 VolumeAttachmentList	apiVersion 0,items 452,kind 0,metadata 8	storage.k8s.io v1 VolumeAttachmentList
17 VolumeAttachmentSource	inlineVolumeSpec 249,persistentVolumeName 0
17 VolumeAttachmentSpec	attacher 1,nodeName 1,source 453
17 VolumeAttachmentStatus	attachError 454,attached 96,attachmentMetadata 160,detachError 454
17 VolumeAttributesClass	apiVersion 0,driverName 1,kind 0,metadata 4,parameters 160	storage.k8s.io v1 VolumeAttributesClass
17 VolumeAttributesClassList	apiVersion 0,items 455,kind 0,metadata 8	storage.k8s.io v1 VolumeAttributesClassList
17 VolumeError	errorCode 19,message 0,time 47
17 VolumeNodeResources	count 19
18 CustomResourceColumnDefinition	description 0,format 0,jsonPath 1,name 1,priority 19,type 1
18 CustomResourceConversion	strategy 1,webhook 456
18 CustomResourceDefinition	apiVersion 0,kind 0,metadata 4,spec 457,status 458	apiextensions.k8s.io v1 CustomResourceDefinition
18 CustomResourceDefinitionCondition	lastTransitionTime 47,message 0,observedGeneration 36,reason 0,status 1,type 1
18 CustomResourceDefinitionList	apiVersion 0,items 459,kind 0,metadata 8	apiextensions.k8s.io v1 CustomResourceDefinitionList
18 CustomResourceDefinitionNames	categories 24,kind 1,listKind 0,plural 1,shortNames 24,singular 0
18 CustomResourceDefinitionSpec	conversion 460,group 1,names 461,preserveUnknownFields 58,scope 1,versions 462
18 CustomResourceDefinitionStatus	acceptedNames 463,conditions 464,observedGeneration 36,storedVersions 24
18 CustomResourceDefinitionVersion	additionalPrinterColumns 465,deprecated 58,deprecationWarning 0,name 1,schema 466,selectableFields 467,served 96,storage 96,subresources 468
18 CustomResourceSubresourceScale	labelSelectorPath 0,specReplicasPath 1,statusReplicasPath 1
18 CustomResourceSubresourceStatus	=o
18 CustomResourceSubresources	scale 469,status 470
18 CustomResourceValidation	openAPIV3Schema 471
18 ExternalDocumentation	description 0,url 0
18 JSON	=*
18 JSONSchemaProps	$ref 0,$schema 0,additionalItems 472,additionalProperties 472,allOf 473,anyOf 473,default 474,definitions 475,dependencies 476,description 0,enum 477,example 474,exclusiveMaximum 58,exclusiveMinimum 58,externalDocs 478,format 0,id 0,items 479,maxItems 36,maxLength 36,maxProperties 36,maximum 480,minItems 36,minLength 36,minProperties 36,minimum 480,multipleOf 480,not 471,nullable 58,oneOf 473,pattern 0,patternProperties 475,properties 475,required 24,title 0,type 0,uniqueItems 58,x-kubernetes-embedded-resource 58,x-kubernetes-int-or-string 58,x-kubernetes-list-map-keys 24,x-kubernetes-list-type 0,x-kubernetes-map-type 0,x-kubernetes-preserve-unknown-fields 58,x-kubernetes-validations 481
18 JSONSchemaPropsOrArray	=*
18 JSONSchemaPropsOrBool	=*
18 JSONSchemaPropsOrStringArray	=*
18 SelectableField	jsonPath 1
18 ServiceReference	name 1,namespace 1,path 0,port 19
18 ValidationRule	fieldPath 0,message 0,messageExpression 0,optionalOldSelf 58,reason 0,rule 1
18 WebhookClientConfig	caBundle 40,service 482,url 0
18 WebhookConversion	clientConfig 483,conversionReviewVersions 16
19 Quantity	=s
20 APIGroup	apiVersion 0,kind 0,name 1,preferredVersion 484,serverAddressByClientCIDRs 485,versions 486	 v1 APIGroup
20 APIGroupList	apiVersion 0,groups 487,kind 0	 v1 APIGroupList
20 APIResource	categories 24,group 0,kind 1,name 1,namespaced 96,shortNames 24,singularName 1,storageVersionHash 0,verbs 488,version 0
20 APIResourceList	apiVersion 0,groupVersion 1,kind 0,resources 489	 v1 APIResourceList
20 APIVersions	apiVersion 0,kind 0,serverAddressByClientCIDRs 490,versions 16	 v1 APIVersions
20 Condition	lastTransitionTime 491,message 1,observedGeneration 36,reason 1,status 1,type 1
20 DeleteOptions	apiVersion 0,dryRun 24,gracePeriodSeconds 36,ignoreStoreReadErrorWithClusterBreakingPotential 58,kind 0,orphanDependents 58,preconditions 492,propagationPolicy 0	 v1 DeleteOptions,admissionregistration.k8s.io v1 DeleteOptions,apiextensions.k8s.io v1 DeleteOptions,apps v1 DeleteOptions,authentication.k8s.io v1 DeleteOptions,authorization.k8s.io v1 DeleteOptions,autoscaling v1 DeleteOptions,autoscaling v2 DeleteOptions,batch v1 DeleteOptions,certificates.k8s.io v1 DeleteOptions,coordination.k8s.io v1 DeleteOptions,discovery.k8s.io v1 DeleteOptions,events.k8s.io v1 DeleteOptions,networking.k8s.io v1 DeleteOptions,node.k8s.io v1 DeleteOptions,policy v1 DeleteOptions,rbac.authorization.k8s.io v1 DeleteOptions,scheduling.k8s.io v1 DeleteOptions,storage.k8s.io v1 DeleteOptions
20 FieldSelectorRequirement	key 1,operator 1,values 24
20 FieldsV1	=o
20 GroupVersionForDiscovery	groupVersion 1,version 1
20 LabelSelector	matchExpressions 86,matchLabels 160		a
20 LabelSelectorRequirement	key 1,operator 1,values 24
20 ListMeta	continue 0,remainingItemCount 36,resourceVersion 0,selfLink 0,shardInfo 493
20 ManagedFieldsEntry	apiVersion 0,fieldsType 0,fieldsV1 494,manager 0,operation 0,subresource 0,time 47
20 MicroTime	=s
20 ObjectMeta	annotations 160,creationTimestamp 47,deletionGracePeriodSeconds 36,deletionTimestamp 47,finalizers 237,generateName 0,generation 36,labels 160,managedFields 495,name 0,namespace 0,ownerReferences 496,resourceVersion 0,selfLink 0,uid 0
20 OwnerReference	apiVersion 1,blockOwnerDeletion 58,controller 58,kind 1,name 1,uid 1		a
20 Patch	=o
20 Preconditions	resourceVersion 0,uid 0
20 ServerAddressByClientCIDR	clientCIDR 1,serverAddress 1
20 ShardInfo	selector 1
20 Status	apiVersion 0,code 19,details 497,kind 0,message 0,metadata 8,reason 0,status 0	 v1 Status
20 StatusCause	field 0,message 0,reason 0
20 StatusDetails	causes 498,group 0,kind 0,name 0,retryAfterSeconds 19,uid 0
20 Time	=s
20 WatchEvent	object 499,type 1	 v1 WatchEvent,admissionregistration.k8s.io v1 WatchEvent,apiextensions.k8s.io v1 WatchEvent,apps v1 WatchEvent,authentication.k8s.io v1 WatchEvent,authorization.k8s.io v1 WatchEvent,autoscaling v1 WatchEvent,autoscaling v2 WatchEvent,batch v1 WatchEvent,certificates.k8s.io v1 WatchEvent,coordination.k8s.io v1 WatchEvent,discovery.k8s.io v1 WatchEvent,events.k8s.io v1 WatchEvent,networking.k8s.io v1 WatchEvent,node.k8s.io v1 WatchEvent,policy v1 WatchEvent,rbac.authorization.k8s.io v1 WatchEvent,scheduling.k8s.io v1 WatchEvent,storage.k8s.io v1 WatchEvent
21 RawExtension	=o
22 IntOrString	=x`;
