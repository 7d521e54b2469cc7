// Written by scripts/generate-api-tables.mjs; edit that script instead.
// Facts from the OpenAPI and protobuf documents of Kubernetes, https://github.com/kubernetes/kubernetes (Apache-2.0).
//
// MESSAGES: package and name \t number field type, … Types: [ repeated, { map of string to, #N message N.
export const PACKAGES = `k8s.io.api.admissionregistration.v1
k8s.io.api.apps.v1
k8s.io.api.authentication.v1
k8s.io.api.authorization.v1
k8s.io.api.autoscaling.v1
k8s.io.api.autoscaling.v2
k8s.io.api.batch.v1
k8s.io.api.certificates.v1
k8s.io.api.coordination.v1
k8s.io.api.core.v1
k8s.io.api.discovery.v1
k8s.io.api.events.v1
k8s.io.api.networking.v1
k8s.io.api.node.v1
k8s.io.api.policy.v1
k8s.io.api.rbac.v1
k8s.io.api.scheduling.v1
k8s.io.api.storage.v1
k8s.io.apimachinery.pkg.api.resource
k8s.io.apimachinery.pkg.apis.meta.v1
k8s.io.apimachinery.pkg.runtime
k8s.io.apimachinery.pkg.util.intstr`;
export const TYPES = `string
#457
[#7
#26
[#11
int32
[string
[#2
#462
[#4
#459
[#5
#11
#10
[#1
#19
#20
#17
[#15
#9
#3
[#14
#8
[#24
[#0
[#25
int64
#13
[#452
[#21
[#22
#12
bytes
#473
[#27
#32
#33
#470
[#29
#288
#34
[#30
#46
#38
#39
[#35
#40
bool
[#36
#47
#44
#45
[#41
[#42
#474
#54
#55
[#49
[#257
#56
#53
#52
[#50
#48
#60
#67
#62
#63
#57
#65
#66
{#58
[#454
[#458
#81
#82
#69
#70
#77
#74
#72
#79
#83
{#68
[#75
[#73
#87
#88
[#85
#84
#90
#91
#108
#109
#105
[#97
#446
#103
#104
#98
[#99
#94
[#106
#100
[#107
[#101
#110
#112
#114
#95
#92
#111
#113
#115
#96
#93
#118
#119
[#116
#125
[#255
#123
#124
[#120
#126
#130
[#121
#132
[#129
[int32
#127
[#128
[#131
#136
#137
[#133
{#138
[#134
#141
[#139
#461
#238
#270
#272
#255
{string
#323
#227
[#159
[#160
{bytes
[#162
[#217
[#171
[#190
#310
[#349
#292
#218
#325
[#189
[#348
[#172
#176
#174
#175
#173
{#446
[#350
#178
[#311
#224
[#181
#254
#304
[#184
[#185
[#186
[#187
#163
#319
#191
#164
#320
#193
#262
#198
#197
[#195
[#210
#219
#199
#209
#339
#335
#223
[#220
[#221
[int64
[#289
[#225
#234
#235
[#231
[#232
#250
#251
#247
[#291
#166
#240
#179
[#236
#246
[#249
[#248
[#340
[#239
[#237
#242
#253
[#170
[#145
#241
[#245
#243
#252
#266
#267
#260
#261
#353
#345
#346
[#258
#229
[#256
#204
#142
#213
#207
#230
#296
#214
#155
#153
#200
#203
#201
#147
#355
#295
#146
#268
#290
#313
#228
#336
#150
#265
#351
#284
#285
[#271
[#356
[#275
[#269
#312
[#338
#357
#317
#144
[#347
[#169
#283
[#227
#143
[#341
[#211
#274
[#279
[#344
[#192
#278
[#282
[#280
[#273
[#177
[#276
[#281
[#212
[#286
#249
#293
#205
[#352
#301
#302
[#298
[#299
#308
#309
[#306
#315
[#303
[#305
[#316
[#318
#152
#332
#333
[#327
[#326
[#331
#334
#226
#157
[#342
#354
#322
#180
#167
#329
#158
#183
#206
#324
#215
#208
#263
#297
#202
#156
#154
#182
#148
#168
#314
#294
#337
#151
#194
#216
#271
#359
#360
[#365
[#364
[#358
[#361
[#362
#368
[#366
#376
[#369
#373
[#371
#398
#388
#389
#387
#380
[#377
#379
[#375
[#384
[#382
#386
#370
#399
[#390
[#385
#383
#397
[#396
[#395
[#391
#374
[#393
[#392
#402
#403
[#400
#404
#407
[#405
#453
#411
#412
[#409
{#470
[#457
[#418
#413
[#424
#423
[#415
[#414
[#420
[#419
[#425
#429
[#427
[#438
#433
#445
[#430
[#431
[#434
[#343
[#436
#442
#443
[#439
#441
#444
[#456
#456
[#466
[#447
#471
[#449
#465
#455
[#463
[#460
#469
[#468`;
export const MESSAGES = `0 AuditAnnotation	1 key 0,2 valueExpression 0
0 ExpressionWarning	2 fieldRef 0,3 warning 0
0 MatchCondition	1 name 0,2 expression 0
0 MatchResources	1 namespaceSelector 1,2 objectSelector 1,3 resourceRules 2,4 excludeResourceRules 2,7 matchPolicy 0
0 MutatingWebhook	1 name 0,2 clientConfig 3,3 rules 4,4 failurePolicy 0,5 namespaceSelector 1,6 sideEffects 0,7 timeoutSeconds 5,8 admissionReviewVersions 6,9 matchPolicy 0,10 reinvocationPolicy 0,11 objectSelector 1,12 matchConditions 7
0 MutatingWebhookConfiguration	1 metadata 8,2 Webhooks 9
0 MutatingWebhookConfigurationList	1 metadata 10,2 items 11
0 NamedRuleWithOperations	1 resourceNames 6,2 ruleWithOperations 12
0 ParamKind	1 apiVersion 0,2 kind 0
0 ParamRef	1 name 0,2 namespace 0,3 selector 1,4 parameterNotFoundAction 0
0 Rule	1 apiGroups 6,2 apiVersions 6,3 resources 6,4 scope 0
0 RuleWithOperations	1 operations 6,2 rule 13
0 ServiceReference	1 namespace 0,2 name 0,3 path 0,4 port 5
0 TypeChecking	1 expressionWarnings 14
0 ValidatingAdmissionPolicy	1 metadata 8,2 spec 15,3 status 16
0 ValidatingAdmissionPolicyBinding	1 metadata 8,2 spec 17
0 ValidatingAdmissionPolicyBindingList	1 metadata 10,2 items 18
0 ValidatingAdmissionPolicyBindingSpec	1 policyName 0,2 paramRef 19,3 matchResources 20,4 validationActions 6
0 ValidatingAdmissionPolicyList	1 metadata 10,2 items 21
0 ValidatingAdmissionPolicySpec	1 paramKind 22,2 matchConstraints 20,3 validations 23,4 failurePolicy 0,5 auditAnnotations 24,6 matchConditions 7,7 variables 25
0 ValidatingAdmissionPolicyStatus	1 observedGeneration 26,2 typeChecking 27,3 conditions 28
0 ValidatingWebhook	1 name 0,2 clientConfig 3,3 rules 4,4 failurePolicy 0,5 namespaceSelector 1,6 sideEffects 0,7 timeoutSeconds 5,8 admissionReviewVersions 6,9 matchPolicy 0,10 objectSelector 1,11 matchConditions 7
0 ValidatingWebhookConfiguration	1 metadata 8,2 Webhooks 29
0 ValidatingWebhookConfigurationList	1 metadata 10,2 items 30
0 Validation	1 Expression 0,2 message 0,3 reason 0,4 messageExpression 0
0 Variable	1 Name 0,2 Expression 0
0 WebhookClientConfig	1 service 31,2 caBundle 32,3 url 0
1 ControllerRevision	1 metadata 8,2 data 33,3 revision 26
1 ControllerRevisionList	1 metadata 10,2 items 34
1 DaemonSet	1 metadata 8,2 spec 35,3 status 36
1 DaemonSetCondition	1 type 0,2 status 0,3 lastTransitionTime 37,4 reason 0,5 message 0
1 DaemonSetList	1 metadata 10,2 items 38
1 DaemonSetSpec	1 selector 1,2 template 39,3 updateStrategy 40,4 minReadySeconds 5,6 revisionHistoryLimit 5
1 DaemonSetStatus	1 currentNumberScheduled 5,2 numberMisscheduled 5,3 desiredNumberScheduled 5,4 numberReady 5,5 observedGeneration 26,6 updatedNumberScheduled 5,7 numberAvailable 5,8 numberUnavailable 5,9 collisionCount 5,10 conditions 41
1 DaemonSetUpdateStrategy	1 type 0,2 rollingUpdate 42
1 Deployment	1 metadata 8,2 spec 43,3 status 44
1 DeploymentCondition	1 type 0,2 status 0,4 reason 0,5 message 0,6 lastUpdateTime 37,7 lastTransitionTime 37
1 DeploymentList	1 metadata 10,2 items 45
1 DeploymentSpec	1 replicas 5,2 selector 1,3 template 39,4 strategy 46,5 minReadySeconds 5,6 revisionHistoryLimit 5,7 paused 47,9 progressDeadlineSeconds 5
1 DeploymentStatus	1 observedGeneration 26,2 replicas 5,3 updatedReplicas 5,4 availableReplicas 5,5 unavailableReplicas 5,6 conditions 48,7 readyReplicas 5,8 collisionCount 5,9 terminatingReplicas 5
1 DeploymentStrategy	1 type 0,2 rollingUpdate 49
1 ReplicaSet	1 metadata 8,2 spec 50,3 status 51
1 ReplicaSetCondition	1 type 0,2 status 0,3 lastTransitionTime 37,4 reason 0,5 message 0
1 ReplicaSetList	1 metadata 10,2 items 52
1 ReplicaSetSpec	1 replicas 5,2 selector 1,3 template 39,4 minReadySeconds 5
1 ReplicaSetStatus	1 replicas 5,2 fullyLabeledReplicas 5,3 observedGeneration 26,4 readyReplicas 5,5 availableReplicas 5,6 conditions 53,7 terminatingReplicas 5
1 RollingUpdateDaemonSet	1 maxUnavailable 54,2 maxSurge 54
1 RollingUpdateDeployment	1 maxUnavailable 54,2 maxSurge 54
1 RollingUpdateStatefulSetStrategy	1 partition 5,2 maxUnavailable 54
1 StatefulSet	1 metadata 8,2 spec 55,3 status 56
1 StatefulSetCondition	1 type 0,2 status 0,3 lastTransitionTime 37,4 reason 0,5 message 0
1 StatefulSetList	1 metadata 10,2 items 57
1 StatefulSetOrdinals	1 start 5
1 StatefulSetPersistentVolumeClaimRetentionPolicy	1 whenDeleted 0,2 whenScaled 0
1 StatefulSetSpec	1 replicas 5,2 selector 1,3 template 39,4 volumeClaimTemplates 58,5 serviceName 0,6 podManagementPolicy 0,7 updateStrategy 59,8 revisionHistoryLimit 5,9 minReadySeconds 5,10 persistentVolumeClaimRetentionPolicy 60,11 ordinals 61
1 StatefulSetStatus	1 observedGeneration 26,2 replicas 5,3 readyReplicas 5,4 currentReplicas 5,5 updatedReplicas 5,6 currentRevision 0,7 updateRevision 0,9 collisionCount 5,10 conditions 62,11 availableReplicas 5
1 StatefulSetUpdateStrategy	1 type 0,2 rollingUpdate 63
2 BoundObjectReference	1 kind 0,2 apiVersion 0,3 name 0,4 uID 0
2 ExtraValue	1 items 6
2 SelfSubjectReview	1 metadata 8,2 status 64
2 SelfSubjectReviewStatus	1 userInfo 65
2 TokenRequest	1 metadata 8,2 spec 66,3 status 67
2 TokenRequestSpec	1 audiences 6,3 boundObjectRef 68,4 expirationSeconds 26
2 TokenRequestStatus	1 token 0,2 expirationTimestamp 37
2 TokenReview	1 metadata 8,2 spec 69,3 status 70
2 TokenReviewSpec	1 token 0,2 audiences 6
2 TokenReviewStatus	1 authenticated 47,2 user 65,3 error 0,4 audiences 6
2 UserInfo	1 username 0,2 uid 0,3 groups 6,4 extra 71
3 ExtraValue	1 items 6
3 FieldSelectorAttributes	1 rawSelector 0,2 requirements 72
3 LabelSelectorAttributes	1 rawSelector 0,2 requirements 73
3 LocalSubjectAccessReview	1 metadata 8,2 spec 74,3 status 75
3 NonResourceAttributes	1 path 0,2 verb 0
3 NonResourceRule	1 verbs 6,2 nonResourceURLs 6
3 ResourceAttributes	1 namespace 0,2 verb 0,3 group 0,4 version 0,5 resource 0,6 subresource 0,7 name 0,8 fieldSelector 76,9 labelSelector 77
3 ResourceRule	1 verbs 6,2 apiGroups 6,3 resources 6,4 resourceNames 6
3 SelfSubjectAccessReview	1 metadata 8,2 spec 78,3 status 75
3 SelfSubjectAccessReviewSpec	1 resourceAttributes 79,2 nonResourceAttributes 80
3 SelfSubjectRulesReview	1 metadata 8,2 spec 81,3 status 82
3 SelfSubjectRulesReviewSpec	1 namespace 0
3 SubjectAccessReview	1 metadata 8,2 spec 74,3 status 75
3 SubjectAccessReviewSpec	1 resourceAttributes 79,2 nonResourceAttributes 80,3 user 0,4 groups 6,5 extra 83,6 uid 0
3 SubjectAccessReviewStatus	1 allowed 47,2 reason 0,3 evaluationError 0,4 denied 47
3 SubjectRulesReviewStatus	1 resourceRules 84,2 nonResourceRules 85,3 incomplete 47,4 evaluationError 0
4 CrossVersionObjectReference	1 kind 0,2 name 0,3 apiVersion 0
4 HorizontalPodAutoscaler	1 metadata 8,2 spec 86,3 status 87
4 HorizontalPodAutoscalerList	1 metadata 10,2 items 88
4 HorizontalPodAutoscalerSpec	1 scaleTargetRef 89,2 minReplicas 5,3 maxReplicas 5,4 targetCPUUtilizationPercentage 5
4 HorizontalPodAutoscalerStatus	1 observedGeneration 26,2 lastScaleTime 37,3 currentReplicas 5,4 desiredReplicas 5,5 currentCPUUtilizationPercentage 5
4 Scale	1 metadata 8,2 spec 90,3 status 91
4 ScaleSpec	1 replicas 5
4 ScaleStatus	1 replicas 5,2 selector 0
5 ContainerResourceMetricSource	1 name 0,2 target 92,3 container 0
5 ContainerResourceMetricStatus	1 name 0,2 current 93,3 container 0
5 CrossVersionObjectReference	1 kind 0,2 name 0,3 apiVersion 0
5 ExternalMetricSource	1 metric 94,2 target 92
5 ExternalMetricStatus	1 metric 94,2 current 93
5 HPAScalingPolicy	1 type 0,2 value 5,3 periodSeconds 5
5 HPAScalingRules	1 selectPolicy 0,2 policies 95,3 stabilizationWindowSeconds 5,4 tolerance 96
5 HorizontalPodAutoscaler	1 metadata 8,2 spec 97,3 status 98
5 HorizontalPodAutoscalerBehavior	1 scaleUp 99,2 scaleDown 99
5 HorizontalPodAutoscalerCondition	1 type 0,2 status 0,3 lastTransitionTime 37,4 reason 0,5 message 0
5 HorizontalPodAutoscalerList	1 metadata 10,2 items 100
5 HorizontalPodAutoscalerSpec	1 scaleTargetRef 101,2 minReplicas 5,3 maxReplicas 5,4 metrics 102,5 behavior 103
5 HorizontalPodAutoscalerStatus	1 observedGeneration 26,2 lastScaleTime 37,3 currentReplicas 5,4 desiredReplicas 5,5 currentMetrics 104,6 conditions 105
5 MetricIdentifier	1 name 0,2 selector 1
5 MetricSpec	1 type 0,2 object 106,3 pods 107,4 resource 108,5 external 109,7 containerResource 110
5 MetricStatus	1 type 0,2 object 111,3 pods 112,4 resource 113,5 external 114,7 containerResource 115
5 MetricTarget	1 type 0,2 value 96,3 averageValue 96,4 averageUtilization 5
5 MetricValueStatus	1 value 96,2 averageValue 96,3 averageUtilization 5
5 ObjectMetricSource	1 describedObject 101,2 target 92,3 metric 94
5 ObjectMetricStatus	1 metric 94,2 current 93,3 describedObject 101
5 PodsMetricSource	1 metric 94,2 target 92
5 PodsMetricStatus	1 metric 94,2 current 93
5 ResourceMetricSource	1 name 0,2 target 92
5 ResourceMetricStatus	1 name 0,2 current 93
6 CronJob	1 metadata 8,2 spec 116,3 status 117
6 CronJobList	1 metadata 10,2 items 118
6 CronJobSpec	1 schedule 0,2 startingDeadlineSeconds 26,3 concurrencyPolicy 0,4 suspend 47,5 jobTemplate 119,6 successfulJobsHistoryLimit 5,7 failedJobsHistoryLimit 5,8 timeZone 0
6 CronJobStatus	1 active 120,4 lastScheduleTime 37,5 lastSuccessfulTime 37
6 Job	1 metadata 8,2 spec 121,3 status 122
6 JobCondition	1 type 0,2 status 0,3 lastProbeTime 37,4 lastTransitionTime 37,5 reason 0,6 message 0
6 JobList	1 metadata 10,2 items 123
6 JobSpec	1 parallelism 5,2 completions 5,3 activeDeadlineSeconds 26,4 selector 1,5 manualSelector 47,6 template 39,7 backoffLimit 5,8 ttlSecondsAfterFinished 5,9 completionMode 0,10 suspend 47,11 podFailurePolicy 124,12 backoffLimitPerIndex 5,13 maxFailedIndexes 5,14 podReplacementPolicy 0,15 managedBy 0,16 successPolicy 125
6 JobStatus	1 conditions 126,2 startTime 37,3 completionTime 37,4 active 5,5 succeeded 5,6 failed 5,7 completedIndexes 0,8 uncountedTerminatedPods 127,9 ready 5,10 failedIndexes 0,11 terminating 5
6 JobTemplateSpec	1 metadata 8,2 spec 121
6 PodFailurePolicy	1 rules 128
6 PodFailurePolicyOnExitCodesRequirement	1 containerName 0,2 operator 0,3 values 129
6 PodFailurePolicyOnPodConditionsPattern	1 type 0,2 status 0
6 PodFailurePolicyRule	1 action 0,2 onExitCodes 130,3 onPodConditions 131
6 SuccessPolicy	1 rules 132
6 SuccessPolicyRule	1 succeededIndexes 0,2 succeededCount 5
6 UncountedTerminatedPods	1 succeeded 6,2 failed 6
7 CertificateSigningRequest	1 metadata 8,2 spec 133,3 status 134
7 CertificateSigningRequestCondition	1 type 0,2 reason 0,3 message 0,4 lastUpdateTime 37,5 lastTransitionTime 37,6 status 0
7 CertificateSigningRequestList	1 metadata 10,2 items 135
7 CertificateSigningRequestSpec	1 request 32,2 username 0,3 uid 0,4 groups 6,5 usages 6,6 extra 136,7 signerName 0,8 expirationSeconds 5
7 CertificateSigningRequestStatus	1 conditions 137,2 certificate 32
7 ExtraValue	1 items 6
8 Lease	1 metadata 8,2 spec 138
8 LeaseList	1 metadata 10,2 items 139
8 LeaseSpec	1 holderIdentity 0,2 leaseDurationSeconds 5,3 acquireTime 140,4 renewTime 140,5 leaseTransitions 5,6 strategy 0,7 preferredHolder 0
9 AWSElasticBlockStoreVolumeSource	1 volumeID 0,2 fsType 0,3 partition 5,4 readOnly 47
9 Affinity	1 nodeAffinity 141,2 podAffinity 142,3 podAntiAffinity 143
9 AppArmorProfile	1 type 0,2 localhostProfile 0
9 AttachedVolume	1 name 0,2 devicePath 0
9 AzureDiskVolumeSource	1 diskName 0,2 diskURI 0,3 cachingMode 0,4 fsType 0,5 readOnly 47,6 kind 0
9 AzureFilePersistentVolumeSource	1 secretName 0,2 shareName 0,3 readOnly 47,4 secretNamespace 0
9 AzureFileVolumeSource	1 secretName 0,2 shareName 0,3 readOnly 47
9 Binding	1 metadata 8,2 target 144
9 CSIPersistentVolumeSource	1 driver 0,2 volumeHandle 0,3 readOnly 47,4 fsType 0,5 volumeAttributes 145,6 controllerPublishSecretRef 146,7 nodeStageSecretRef 146,8 nodePublishSecretRef 146,9 controllerExpandSecretRef 146,10 nodeExpandSecretRef 146
9 CSIVolumeSource	1 driver 0,2 readOnly 47,3 fsType 0,4 volumeAttributes 145,5 nodePublishSecretRef 147
9 Capabilities	1 add 6,2 drop 6
9 CephFSPersistentVolumeSource	1 monitors 6,2 path 0,3 user 0,4 secretFile 0,5 secretRef 146,6 readOnly 47
9 CephFSVolumeSource	1 monitors 6,2 path 0,3 user 0,4 secretFile 0,5 secretRef 147,6 readOnly 47
9 CinderPersistentVolumeSource	1 volumeID 0,2 fsType 0,3 readOnly 47,4 secretRef 146
9 CinderVolumeSource	1 volumeID 0,2 fsType 0,3 readOnly 47,4 secretRef 147
9 ClientIPConfig	1 timeoutSeconds 5
9 ClusterTrustBundleProjection	1 name 0,2 signerName 0,3 labelSelector 1,4 path 0,5 optional 47
9 ComponentCondition	1 type 0,2 status 0,3 message 0,4 error 0
9 ComponentStatus	1 metadata 8,2 conditions 148
9 ComponentStatusList	1 metadata 10,2 items 149
9 ConfigMap	1 metadata 8,2 data 145,3 binaryData 150,4 immutable 47
9 ConfigMapEnvSource	1 localObjectReference 147,2 optional 47
9 ConfigMapKeySelector	1 localObjectReference 147,2 key 0,3 optional 47
9 ConfigMapList	1 metadata 10,2 items 151
9 ConfigMapNodeConfigSource	1 namespace 0,2 name 0,3 uid 0,4 resourceVersion 0,5 kubeletConfigKey 0
9 ConfigMapProjection	1 localObjectReference 147,2 items 152,4 optional 47
9 ConfigMapVolumeSource	1 localObjectReference 147,2 items 152,3 defaultMode 5,4 optional 47
9 Container	1 name 0,2 image 0,3 command 6,4 args 6,5 workingDir 0,6 ports 153,7 env 154,8 resources 155,9 volumeMounts 156,10 livenessProbe 157,11 readinessProbe 157,12 lifecycle 158,13 terminationMessagePath 0,14 imagePullPolicy 0,15 securityContext 159,16 stdin 47,17 stdinOnce 47,18 tty 47,19 envFrom 160,20 terminationMessagePolicy 0,21 volumeDevices 161,22 startupProbe 157,23 resizePolicy 162,24 restartPolicy 0
9 ContainerImage	1 names 6,2 sizeBytes 26
9 ContainerPort	1 name 0,2 hostPort 5,3 containerPort 5,4 protocol 0,5 hostIP 0
9 ContainerResizePolicy	1 resourceName 0,2 restartPolicy 0
9 ContainerState	1 waiting 163,2 running 164,3 terminated 165
9 ContainerStateRunning	1 startedAt 37
9 ContainerStateTerminated	1 exitCode 5,2 signal 5,3 reason 0,4 message 0,5 startedAt 37,6 finishedAt 37,7 containerID 0
9 ContainerStateWaiting	1 reason 0,2 message 0
9 ContainerStatus	1 name 0,2 state 166,3 lastState 166,4 ready 47,5 restartCount 5,6 image 0,7 imageID 0,8 containerID 0,9 started 47,10 allocatedResources 167,11 resources 155,12 volumeMounts 168,13 user 169,14 allocatedResourcesStatus 170,15 stopSignal 0
9 ContainerUser	1 linux 171
9 DaemonEndpoint	1 Port 5
9 DownwardAPIProjection	1 items 172
9 DownwardAPIVolumeFile	1 path 0,2 fieldRef 173,3 resourceFieldRef 174,4 mode 5
9 DownwardAPIVolumeSource	1 items 172,2 defaultMode 5
9 EmptyDirVolumeSource	1 medium 0,2 sizeLimit 96
9 EndpointAddress	1 ip 0,2 targetRef 144,3 hostname 0,4 nodeName 0
9 EndpointPort	1 name 0,2 port 5,3 protocol 0,4 appProtocol 0
9 EndpointSubset	1 addresses 175,2 notReadyAddresses 175,3 ports 176
9 Endpoints	1 metadata 8,2 subsets 177
9 EndpointsList	1 metadata 10,2 items 178
9 EnvFromSource	1 prefix 0,2 configMapRef 179,3 secretRef 180
9 EnvVar	1 name 0,2 value 0,3 valueFrom 181
9 EnvVarSource	1 fieldRef 173,2 resourceFieldRef 174,3 configMapKeyRef 182,4 secretKeyRef 183
9 EphemeralContainer	1 ephemeralContainerCommon 184,2 targetContainerName 0
9 EphemeralContainerCommon	1 name 0,2 image 0,3 command 6,4 args 6,5 workingDir 0,6 ports 153,7 env 154,8 resources 155,9 volumeMounts 156,10 livenessProbe 157,11 readinessProbe 157,12 lifecycle 158,13 terminationMessagePath 0,14 imagePullPolicy 0,15 securityContext 159,16 stdin 47,17 stdinOnce 47,18 tty 47,19 envFrom 160,20 terminationMessagePolicy 0,21 volumeDevices 161,22 startupProbe 157,23 resizePolicy 162,24 restartPolicy 0
9 EphemeralVolumeSource	1 volumeClaimTemplate 185
9 Event	1 metadata 8,2 involvedObject 144,3 reason 0,4 message 0,5 source 186,6 firstTimestamp 37,7 lastTimestamp 37,8 count 5,9 type 0,10 eventTime 140,11 series 187,12 action 0,13 related 144,14 reportingComponent 0,15 reportingInstance 0
9 EventList	1 metadata 10,2 items 188
9 EventSeries	1 count 5,2 lastObservedTime 140
9 EventSource	1 component 0,2 host 0
9 ExecAction	1 command 6
9 FCVolumeSource	1 targetWWNs 6,2 lun 5,3 fsType 0,4 readOnly 47,5 wwids 6
9 FlexPersistentVolumeSource	1 driver 0,2 fsType 0,3 secretRef 146,4 readOnly 47,5 options 145
9 FlexVolumeSource	1 driver 0,2 fsType 0,3 secretRef 147,4 readOnly 47,5 options 145
9 FlockerVolumeSource	1 datasetName 0,2 datasetUUID 0
9 GCEPersistentDiskVolumeSource	1 pdName 0,2 fsType 0,3 partition 5,4 readOnly 47
9 GRPCAction	1 port 5,2 service 0
9 GitRepoVolumeSource	1 repository 0,2 revision 0,3 directory 0
9 GlusterfsPersistentVolumeSource	1 endpoints 0,2 path 0,3 readOnly 47,4 endpointsNamespace 0
9 GlusterfsVolumeSource	1 endpoints 0,2 path 0,3 readOnly 47
9 HTTPGetAction	1 path 0,2 port 54,3 host 0,4 scheme 0,5 httpHeaders 189
9 HTTPHeader	1 name 0,2 value 0
9 HostAlias	1 ip 0,2 hostnames 6
9 HostIP	1 ip 0
9 HostPathVolumeSource	1 path 0,2 type 0
9 ISCSIPersistentVolumeSource	1 targetPortal 0,2 iqn 0,3 lun 5,4 iscsiInterface 0,5 fsType 0,6 readOnly 47,7 portals 6,8 chapAuthDiscovery 47,10 secretRef 146,11 chapAuthSession 47,12 initiatorName 0
9 ISCSIVolumeSource	1 targetPortal 0,2 iqn 0,3 lun 5,4 iscsiInterface 0,5 fsType 0,6 readOnly 47,7 portals 6,8 chapAuthDiscovery 47,10 secretRef 147,11 chapAuthSession 47,12 initiatorName 0
9 ImageVolumeSource	1 reference 0,2 pullPolicy 0
9 KeyToPath	1 key 0,2 path 0,3 mode 5
9 Lifecycle	1 postStart 190,2 preStop 190,3 stopSignal 0
9 LifecycleHandler	1 exec 191,2 httpGet 192,3 tcpSocket 193,4 sleep 194
9 LimitRange	1 metadata 8,2 spec 195
9 LimitRangeItem	1 type 0,2 max 167,3 min 167,4 default 167,5 defaultRequest 167,6 maxLimitRequestRatio 167
9 LimitRangeList	1 metadata 10,2 items 196
9 LimitRangeSpec	1 limits 197
9 LinuxContainerUser	1 uid 26,2 gid 26,3 supplementalGroups 198
9 LoadBalancerIngress	1 ip 0,2 hostname 0,3 ipMode 0,4 ports 199
9 LoadBalancerStatus	1 ingress 200
9 LocalObjectReference	1 name 0
9 LocalVolumeSource	1 path 0,2 fsType 0
9 ModifyVolumeStatus	1 targetVolumeAttributesClassName 0,2 status 0
9 NFSVolumeSource	1 server 0,2 path 0,3 readOnly 47
9 Namespace	1 metadata 8,2 spec 201,3 status 202
9 NamespaceCondition	1 type 0,2 status 0,4 lastTransitionTime 37,5 reason 0,6 message 0
9 NamespaceList	1 metadata 10,2 items 203
9 NamespaceSpec	1 finalizers 6
9 NamespaceStatus	1 phase 0,2 conditions 204
9 Node	1 metadata 8,2 spec 205,3 status 206
9 NodeAddress	1 type 0,2 address 0
9 NodeAffinity	1 requiredDuringSchedulingIgnoredDuringExecution 207,2 preferredDuringSchedulingIgnoredDuringExecution 208
9 NodeCondition	1 type 0,2 status 0,3 lastHeartbeatTime 37,4 lastTransitionTime 37,5 reason 0,6 message 0
9 NodeConfigSource	2 configMap 209
9 NodeConfigStatus	1 assigned 210,2 active 210,3 lastKnownGood 210,4 error 0
9 NodeDaemonEndpoints	1 kubeletEndpoint 211
9 NodeFeatures	1 supplementalGroupsPolicy 47
9 NodeList	1 metadata 10,2 items 212
9 NodeRuntimeHandler	1 name 0,2 features 213
9 NodeRuntimeHandlerFeatures	1 recursiveReadOnlyMounts 47,2 userNamespaces 47
9 NodeSelector	1 nodeSelectorTerms 214
9 NodeSelectorRequirement	1 key 0,2 operator 0,3 values 6
9 NodeSelectorTerm	1 matchExpressions 215,2 matchFields 215
9 NodeSpec	1 podCIDR 0,2 externalID 0,3 providerID 0,4 unschedulable 47,5 taints 216,6 configSource 210,7 podCIDRs 6
9 NodeStatus	1 capacity 167,2 allocatable 167,3 phase 0,4 conditions 217,5 addresses 218,6 daemonEndpoints 219,7 nodeInfo 220,8 images 221,9 volumesInUse 6,10 volumesAttached 222,11 config 223,12 runtimeHandlers 224,13 features 225
9 NodeSwapStatus	1 capacity 26
9 NodeSystemInfo	1 machineID 0,2 systemUUID 0,3 bootID 0,4 kernelVersion 0,5 osImage 0,6 containerRuntimeVersion 0,7 kubeletVersion 0,8 kubeProxyVersion 0,9 operatingSystem 0,10 architecture 0,11 swap 226
9 ObjectFieldSelector	1 apiVersion 0,2 fieldPath 0
9 ObjectReference	1 kind 0,2 namespace 0,3 name 0,4 uid 0,5 apiVersion 0,6 resourceVersion 0,7 fieldPath 0
9 PersistentVolume	1 metadata 8,2 spec 227,3 status 228
9 PersistentVolumeClaim	1 metadata 8,2 spec 229,3 status 230
9 PersistentVolumeClaimCondition	1 type 0,2 status 0,3 lastProbeTime 37,4 lastTransitionTime 37,5 reason 0,6 message 0
9 PersistentVolumeClaimList	1 metadata 10,2 items 58
9 PersistentVolumeClaimSpec	1 accessModes 6,2 resources 231,3 volumeName 0,4 selector 1,5 storageClassName 0,6 volumeMode 0,7 dataSource 232,8 dataSourceRef 233,9 volumeAttributesClassName 0
9 PersistentVolumeClaimStatus	1 phase 0,2 accessModes 6,3 capacity 167,4 conditions 234,5 allocatedResources 167,7 allocatedResourceStatuses 145,8 currentVolumeAttributesClassName 0,9 modifyVolumeStatus 235
9 PersistentVolumeClaimTemplate	1 metadata 8,2 spec 229
9 PersistentVolumeClaimVolumeSource	1 claimName 0,2 readOnly 47
9 PersistentVolumeList	1 metadata 10,2 items 236
9 PersistentVolumeSource	1 gcePersistentDisk 237,2 awsElasticBlockStore 238,3 hostPath 239,4 glusterfs 240,5 nfs 241,6 rbd 242,7 iscsi 243,8 cinder 244,9 cephfs 245,10 fc 246,11 flocker 247,12 flexVolume 248,13 azureFile 249,14 vsphereVolume 250,15 quobyte 251,16 azureDisk 252,17 photonPersistentDisk 253,18 portworxVolume 254,19 scaleIO 255,20 local 256,21 storageos 257,22 csi 258
9 PersistentVolumeSpec	1 capacity 167,2 persistentVolumeSource 259,3 accessModes 6,4 claimRef 144,5 persistentVolumeReclaimPolicy 0,6 storageClassName 0,7 mountOptions 6,8 volumeMode 0,9 nodeAffinity 260,10 volumeAttributesClassName 0
9 PersistentVolumeStatus	1 phase 0,2 message 0,3 reason 0,4 lastPhaseTransitionTime 37
9 PhotonPersistentDiskVolumeSource	1 pdID 0,2 fsType 0
9 Pod	1 metadata 8,2 spec 261,3 status 262
9 PodAffinity	1 requiredDuringSchedulingIgnoredDuringExecution 263,2 preferredDuringSchedulingIgnoredDuringExecution 264
9 PodAffinityTerm	1 labelSelector 1,2 namespaces 6,3 topologyKey 0,4 namespaceSelector 1,5 matchLabelKeys 6,6 mismatchLabelKeys 6
9 PodAntiAffinity	1 requiredDuringSchedulingIgnoredDuringExecution 263,2 preferredDuringSchedulingIgnoredDuringExecution 264
9 PodCondition	1 type 0,2 status 0,3 lastProbeTime 37,4 lastTransitionTime 37,5 reason 0,6 message 0,7 observedGeneration 26
9 PodDNSConfig	1 nameservers 6,2 searches 6,3 options 265
9 PodDNSConfigOption	1 name 0,2 value 0
9 PodIP	1 ip 0
9 PodList	1 metadata 10,2 items 266
9 PodOS	1 name 0
9 PodReadinessGate	1 conditionType 0
9 PodResourceClaim	1 name 0,3 resourceClaimName 0,4 resourceClaimTemplateName 0
9 PodResourceClaimStatus	1 name 0,2 resourceClaimName 0
9 PodSchedulingGate	1 name 0
9 PodSecurityContext	1 seLinuxOptions 267,2 runAsUser 26,3 runAsNonRoot 47,4 supplementalGroups 198,5 fsGroup 26,6 runAsGroup 26,7 sysctls 268,8 windowsOptions 269,9 fsGroupChangePolicy 0,10 seccompProfile 270,11 appArmorProfile 271,12 supplementalGroupsPolicy 0,13 seLinuxChangePolicy 0
9 PodSpec	1 volumes 272,2 containers 273,3 restartPolicy 0,4 terminationGracePeriodSeconds 26,5 activeDeadlineSeconds 26,6 dnsPolicy 0,7 nodeSelector 145,8 serviceAccountName 0,9 serviceAccount 0,10 nodeName 0,11 hostNetwork 47,12 hostPID 47,13 hostIPC 47,14 securityContext 274,15 imagePullSecrets 275,16 hostname 0,17 subdomain 0,18 affinity 276,19 schedulerName 0,20 initContainers 273,21 automountServiceAccountToken 47,22 tolerations 277,23 hostAliases 278,24 priorityClassName 0,25 priority 5,26 dnsConfig 279,27 shareProcessNamespace 47,28 readinessGates 280,29 runtimeClassName 0,30 enableServiceLinks 47,31 preemptionPolicy 0,32 overhead 167,33 topologySpreadConstraints 281,34 ephemeralContainers 282,35 setHostnameAsFQDN 47,36 os 283,37 hostUsers 47,38 schedulingGates 284,39 resourceClaims 285,40 resources 155
9 PodStatus	1 phase 0,2 conditions 286,3 message 0,4 reason 0,5 hostIP 0,6 podIP 0,7 startTime 37,8 containerStatuses 287,9 qosClass 0,10 initContainerStatuses 287,11 nominatedNodeName 0,12 podIPs 288,13 ephemeralContainerStatuses 287,14 resize 0,15 resourceClaimStatuses 289,16 hostIPs 290,17 observedGeneration 26
9 PodTemplate	1 metadata 8,2 template 39
9 PodTemplateList	1 metadata 10,2 items 291
9 PodTemplateSpec	1 metadata 8,2 spec 261
9 PortStatus	1 port 5,2 protocol 0,3 error 0
9 PortworxVolumeSource	1 volumeID 0,2 fsType 0,3 readOnly 47
9 PreferredSchedulingTerm	1 weight 5,2 preference 292
9 Probe	1 handler 293,2 initialDelaySeconds 5,3 timeoutSeconds 5,4 periodSeconds 5,5 successThreshold 5,6 failureThreshold 5,7 terminationGracePeriodSeconds 26
9 ProbeHandler	1 exec 191,2 httpGet 192,3 tcpSocket 193,4 grpc 294
9 ProjectedVolumeSource	1 sources 295,2 defaultMode 5
9 QuobyteVolumeSource	1 registry 0,2 volume 0,3 readOnly 47,4 user 0,5 group 0,6 tenant 0
9 RBDPersistentVolumeSource	1 monitors 6,2 image 0,3 fsType 0,4 pool 0,5 user 0,6 keyring 0,7 secretRef 146,8 readOnly 47
9 RBDVolumeSource	1 monitors 6,2 image 0,3 fsType 0,4 pool 0,5 user 0,6 keyring 0,7 secretRef 147,8 readOnly 47
9 ReplicationController	1 metadata 8,2 spec 296,3 status 297
9 ReplicationControllerCondition	1 type 0,2 status 0,3 lastTransitionTime 37,4 reason 0,5 message 0
9 ReplicationControllerList	1 metadata 10,2 items 298
9 ReplicationControllerSpec	1 replicas 5,2 selector 145,3 template 39,4 minReadySeconds 5
9 ReplicationControllerStatus	1 replicas 5,2 fullyLabeledReplicas 5,3 observedGeneration 26,4 readyReplicas 5,5 availableReplicas 5,6 conditions 299
9 ResourceClaim	1 name 0,2 request 0
9 ResourceFieldSelector	1 containerName 0,2 resource 0,3 divisor 96
9 ResourceHealth	1 resourceID 0,2 health 0
9 ResourceQuota	1 metadata 8,2 spec 300,3 status 301
9 ResourceQuotaList	1 metadata 10,2 items 302
9 ResourceQuotaSpec	1 hard 167,2 scopes 6,3 scopeSelector 303
9 ResourceQuotaStatus	1 hard 167,2 used 167
9 ResourceRequirements	1 limits 167,2 requests 167,3 claims 304
9 ResourceStatus	1 name 0,2 resources 305
9 SELinuxOptions	1 user 0,2 role 0,3 type 0,4 level 0
9 ScaleIOPersistentVolumeSource	1 gateway 0,2 system 0,3 secretRef 146,4 sslEnabled 47,5 protectionDomain 0,6 storagePool 0,7 storageMode 0,8 volumeName 0,9 fsType 0,10 readOnly 47
9 ScaleIOVolumeSource	1 gateway 0,2 system 0,3 secretRef 147,4 sslEnabled 47,5 protectionDomain 0,6 storagePool 0,7 storageMode 0,8 volumeName 0,9 fsType 0,10 readOnly 47
9 ScopeSelector	1 matchExpressions 306
9 ScopedResourceSelectorRequirement	1 scopeName 0,2 operator 0,3 values 6
9 SeccompProfile	1 type 0,2 localhostProfile 0
9 Secret	1 metadata 8,2 data 150,3 type 0,4 stringData 145,5 immutable 47
9 SecretEnvSource	1 localObjectReference 147,2 optional 47
9 SecretKeySelector	1 localObjectReference 147,2 key 0,3 optional 47
9 SecretList	1 metadata 10,2 items 307
9 SecretProjection	1 localObjectReference 147,2 items 152,4 optional 47
9 SecretReference	1 name 0,2 namespace 0
9 SecretVolumeSource	1 secretName 0,2 items 152,3 defaultMode 5,4 optional 47
9 SecurityContext	1 capabilities 308,2 privileged 47,3 seLinuxOptions 267,4 runAsUser 26,5 runAsNonRoot 47,6 readOnlyRootFilesystem 47,7 allowPrivilegeEscalation 47,8 runAsGroup 26,9 procMount 0,10 windowsOptions 269,11 seccompProfile 270,12 appArmorProfile 271
9 Service	1 metadata 8,2 spec 309,3 status 310
9 ServiceAccount	1 metadata 8,2 secrets 120,3 imagePullSecrets 275,4 automountServiceAccountToken 47
9 ServiceAccountList	1 metadata 10,2 items 311
9 ServiceAccountTokenProjection	1 audience 0,2 expirationSeconds 26,3 path 0
9 ServiceList	1 metadata 10,2 items 312
9 ServicePort	1 name 0,2 protocol 0,3 port 5,4 targetPort 54,5 nodePort 5,6 appProtocol 0
9 ServiceSpec	1 ports 313,2 selector 145,3 clusterIP 0,4 type 0,5 externalIPs 6,7 sessionAffinity 0,8 loadBalancerIP 0,9 loadBalancerSourceRanges 6,10 externalName 0,11 externalTrafficPolicy 0,12 healthCheckNodePort 5,13 publishNotReadyAddresses 47,14 sessionAffinityConfig 314,17 ipFamilyPolicy 0,18 clusterIPs 6,19 ipFamilies 6,20 allocateLoadBalancerNodePorts 47,21 loadBalancerClass 0,22 internalTrafficPolicy 0,23 trafficDistribution 0
9 ServiceStatus	1 loadBalancer 315,2 conditions 28
9 SessionAffinityConfig	1 clientIP 316
9 SleepAction	1 seconds 26
9 StorageOSPersistentVolumeSource	1 volumeName 0,2 volumeNamespace 0,3 fsType 0,4 readOnly 47,5 secretRef 144
9 StorageOSVolumeSource	1 volumeName 0,2 volumeNamespace 0,3 fsType 0,4 readOnly 47,5 secretRef 147
9 Sysctl	1 name 0,2 value 0
9 TCPSocketAction	1 port 54,2 host 0
9 Taint	1 key 0,2 value 0,3 effect 0,4 timeAdded 37
9 Toleration	1 key 0,2 operator 0,3 value 0,4 effect 0,5 tolerationSeconds 26
9 TopologySelectorLabelRequirement	1 key 0,2 values 6
9 TopologySelectorTerm	1 matchLabelExpressions 317
9 TopologySpreadConstraint	1 maxSkew 5,2 topologyKey 0,3 whenUnsatisfiable 0,4 labelSelector 1,5 minDomains 5,6 nodeAffinityPolicy 0,7 nodeTaintsPolicy 0,8 matchLabelKeys 6
9 TypedLocalObjectReference	1 apiGroup 0,2 kind 0,3 name 0
9 TypedObjectReference	1 apiGroup 0,2 kind 0,3 name 0,4 namespace 0
9 Volume	1 name 0,2 volumeSource 318
9 VolumeDevice	1 name 0,2 devicePath 0
9 VolumeMount	1 name 0,2 readOnly 47,3 mountPath 0,4 subPath 0,5 mountPropagation 0,6 subPathExpr 0,7 recursiveReadOnly 0
9 VolumeMountStatus	1 name 0,2 mountPath 0,3 readOnly 47,4 recursiveReadOnly 0
9 VolumeNodeAffinity	1 required 207
9 VolumeProjection	1 secret 319,2 downwardAPI 320,3 configMap 321,4 serviceAccountToken 322,5 clusterTrustBundle 323
9 VolumeResourceRequirements	1 limits 167,2 requests 167
9 VolumeSource	1 hostPath 239,2 emptyDir 324,3 gcePersistentDisk 237,4 awsElasticBlockStore 238,5 gitRepo 325,6 secret 326,7 nfs 241,8 iscsi 327,9 glusterfs 328,10 persistentVolumeClaim 329,11 rbd 330,12 flexVolume 331,13 cinder 332,14 cephfs 333,15 flocker 247,16 downwardAPI 334,17 fc 246,18 azureFile 335,19 configMap 336,20 vsphereVolume 250,21 quobyte 251,22 azureDisk 252,23 photonPersistentDisk 253,24 portworxVolume 254,25 scaleIO 337,26 projected 338,27 storageos 339,28 csi 340,29 ephemeral 341,30 image 342
9 VsphereVirtualDiskVolumeSource	1 volumePath 0,2 fsType 0,3 storagePolicyName 0,4 storagePolicyID 0
9 WeightedPodAffinityTerm	1 weight 5,2 podAffinityTerm 343
9 WindowsSecurityContextOptions	1 gmsaCredentialSpecName 0,2 gmsaCredentialSpec 0,3 runAsUserName 0,4 hostProcess 47
10 Endpoint	1 addresses 6,2 conditions 344,3 hostname 0,4 targetRef 144,5 deprecatedTopology 145,6 nodeName 0,7 zone 0,8 hints 345
10 EndpointConditions	1 ready 47,2 serving 47,3 terminating 47
10 EndpointHints	1 forZones 346,2 forNodes 347
10 EndpointPort	1 name 0,2 protocol 0,3 port 5,4 appProtocol 0
10 EndpointSlice	1 metadata 8,2 endpoints 348,3 ports 349,4 addressType 0
10 EndpointSliceList	1 metadata 10,2 items 350
10 ForNode	1 name 0
10 ForZone	1 name 0
11 Event	1 metadata 8,2 eventTime 140,3 series 351,4 reportingController 0,5 reportingInstance 0,6 action 0,7 reason 0,8 regarding 144,9 related 144,10 note 0,11 type 0,12 deprecatedSource 186,13 deprecatedFirstTimestamp 37,14 deprecatedLastTimestamp 37,15 deprecatedCount 5
11 EventList	1 metadata 10,2 items 352
11 EventSeries	1 count 5,2 lastObservedTime 140
12 HTTPIngressPath	1 path 0,2 backend 353,3 pathType 0
12 HTTPIngressRuleValue	1 paths 354
12 IPAddress	1 metadata 8,2 spec 355
12 IPAddressList	1 metadata 10,2 items 356
12 IPAddressSpec	1 parentRef 357
12 IPBlock	1 cidr 0,2 except 6
12 Ingress	1 metadata 8,2 spec 358,3 status 359
12 IngressBackend	3 resource 232,4 service 360
12 IngressClass	1 metadata 8,2 spec 361
12 IngressClassList	1 metadata 10,2 items 362
12 IngressClassParametersReference	1 aPIGroup 0,2 kind 0,3 name 0,4 scope 0,5 namespace 0
12 IngressClassSpec	1 controller 0,2 parameters 363
12 IngressList	1 metadata 10,2 items 364
12 IngressLoadBalancerIngress	1 ip 0,2 hostname 0,4 ports 365
12 IngressLoadBalancerStatus	1 ingress 366
12 IngressPortStatus	1 port 5,2 protocol 0,3 error 0
12 IngressRule	1 host 0,2 ingressRuleValue 367
12 IngressRuleValue	1 http 368
12 IngressServiceBackend	1 name 0,2 port 369
12 IngressSpec	1 defaultBackend 353,2 tls 370,3 rules 371,4 ingressClassName 0
12 IngressStatus	1 loadBalancer 372
12 IngressTLS	1 hosts 6,2 secretName 0
12 NetworkPolicy	1 metadata 8,2 spec 373
12 NetworkPolicyEgressRule	1 ports 374,2 to 375
12 NetworkPolicyIngressRule	1 ports 374,2 from 375
12 NetworkPolicyList	1 metadata 10,2 items 376
12 NetworkPolicyPeer	1 podSelector 1,2 namespaceSelector 1,3 ipBlock 377
12 NetworkPolicyPort	1 protocol 0,2 port 54,3 endPort 5
12 NetworkPolicySpec	1 podSelector 1,2 ingress 378,3 egress 379,4 policyTypes 6
12 ParentReference	1 group 0,2 resource 0,3 namespace 0,4 name 0
12 ServiceBackendPort	1 name 0,2 number 5
12 ServiceCIDR	1 metadata 8,2 spec 380,3 status 381
12 ServiceCIDRList	1 metadata 10,2 items 382
12 ServiceCIDRSpec	1 cidrs 6
12 ServiceCIDRStatus	1 conditions 28
13 Overhead	1 podFixed 167
13 RuntimeClass	1 metadata 8,2 handler 0,3 overhead 383,4 scheduling 384
13 RuntimeClassList	1 metadata 10,2 items 385
13 Scheduling	1 nodeSelector 145,2 tolerations 277
14 Eviction	1 metadata 8,2 deleteOptions 386
14 PodDisruptionBudget	1 metadata 8,2 spec 387,3 status 388
14 PodDisruptionBudgetList	1 metadata 10,2 items 389
14 PodDisruptionBudgetSpec	1 minAvailable 54,2 selector 1,3 maxUnavailable 54,4 unhealthyPodEvictionPolicy 0
14 PodDisruptionBudgetStatus	1 observedGeneration 26,2 disruptedPods 390,3 disruptionsAllowed 5,4 currentHealthy 5,5 desiredHealthy 5,6 expectedPods 5,7 conditions 28
15 AggregationRule	1 clusterRoleSelectors 391
15 ClusterRole	1 metadata 8,2 rules 392,3 aggregationRule 393
15 ClusterRoleBinding	1 metadata 8,2 subjects 394,3 roleRef 395
15 ClusterRoleBindingList	1 metadata 10,2 items 396
15 ClusterRoleList	1 metadata 10,2 items 397
15 PolicyRule	1 verbs 6,2 apiGroups 6,3 resources 6,4 resourceNames 6,5 nonResourceURLs 6
15 Role	1 metadata 8,2 rules 392
15 RoleBinding	1 metadata 8,2 subjects 394,3 roleRef 395
15 RoleBindingList	1 metadata 10,2 items 398
15 RoleList	1 metadata 10,2 items 399
15 RoleRef	1 apiGroup 0,2 kind 0,3 name 0
15 Subject	1 kind 0,2 apiGroup 0,3 name 0,4 namespace 0
16 PriorityClass	1 metadata 8,2 value 5,3 globalDefault 47,4 description 0,5 preemptionPolicy 0
16 PriorityClassList	1 metadata 10,2 items 400
17 CSIDriver	1 metadata 8,2 spec 401
17 CSIDriverList	1 metadata 10,2 items 402
17 CSIDriverSpec	1 attachRequired 47,2 podInfoOnMount 47,3 volumeLifecycleModes 6,4 storageCapacity 47,5 fsGroupPolicy 0,6 tokenRequests 403,7 requiresRepublish 47,8 seLinuxMount 47,9 nodeAllocatableUpdatePeriodSeconds 26
17 CSINode	1 metadata 8,2 spec 404
17 CSINodeDriver	1 name 0,2 nodeID 0,3 topologyKeys 6,4 allocatable 405
17 CSINodeList	1 metadata 10,2 items 406
17 CSINodeSpec	1 drivers 407
17 CSIStorageCapacity	1 metadata 8,2 nodeTopology 1,3 storageClassName 0,4 capacity 96,5 maximumVolumeSize 96
17 CSIStorageCapacityList	1 metadata 10,2 items 408
17 StorageClass	1 metadata 8,2 provisioner 0,3 parameters 145,4 reclaimPolicy 0,5 mountOptions 6,6 allowVolumeExpansion 47,7 volumeBindingMode 0,8 allowedTopologies 409
17 StorageClassList	1 metadata 10,2 items 410
17 TokenRequest	1 audience 0,2 expirationSeconds 26
17 VolumeAttachment	1 metadata 8,2 spec 411,3 status 412
17 VolumeAttachmentList	1 metadata 10,2 items 413
17 VolumeAttachmentSource	1 persistentVolumeName 0,2 inlineVolumeSpec 227
17 VolumeAttachmentSpec	1 attacher 0,2 source 414,3 nodeName 0
17 VolumeAttachmentStatus	1 attached 47,2 attachmentMetadata 145,3 attachError 415,4 detachError 415
17 VolumeError	1 time 37,2 message 0,3 errorCode 5
17 VolumeNodeResources	1 count 5
18 Quantity	1 string 0
19 APIGroup	1 name 0,2 versions 416,3 preferredVersion 417,4 serverAddressByClientCIDRs 418
19 APIGroupList	1 groups 419
19 APIResource	1 name 0,2 namespaced 47,3 kind 0,4 verbs 420,5 shortNames 6,6 singularName 0,7 categories 6,8 group 0,9 version 0,10 storageVersionHash 0
19 APIResourceList	1 groupVersion 0,2 resources 421
19 APIVersions	1 versions 6,2 serverAddressByClientCIDRs 418
19 Condition	1 type 0,2 status 0,3 observedGeneration 26,4 lastTransitionTime 37,5 reason 0,6 message 0
19 DeleteOptions	1 gracePeriodSeconds 26,2 preconditions 422,3 orphanDependents 47,4 propagationPolicy 0,5 dryRun 6,6 ignoreStoreReadErrorWithClusterBreakingPotential 47
19 FieldSelectorRequirement	1 key 0,2 operator 0,3 values 6
19 FieldsV1	1 Raw 32
19 GroupVersionForDiscovery	1 groupVersion 0,2 version 0
19 LabelSelector	1 matchLabels 145,2 matchExpressions 73
19 LabelSelectorRequirement	1 key 0,2 operator 0,3 values 6
19 ListMeta	1 selfLink 0,2 resourceVersion 0,3 continue 0,4 remainingItemCount 26
19 ManagedFieldsEntry	1 manager 0,2 operation 0,3 apiVersion 0,4 time 37,6 fieldsType 0,7 fieldsV1 423,8 subresource 0
19 MicroTime	1 seconds 26,2 nanos 5
19 ObjectMeta	1 name 0,2 generateName 0,3 namespace 0,4 selfLink 0,5 uid 0,6 resourceVersion 0,7 generation 26,8 creationTimestamp 37,9 deletionTimestamp 37,10 deletionGracePeriodSeconds 26,11 labels 145,12 annotations 145,13 ownerReferences 424,14 finalizers 6,17 managedFields 425
19 OwnerReference	1 kind 0,3 name 0,4 uid 0,5 apiVersion 0,6 controller 47,7 blockOwnerDeletion 47
19 Patch	
19 Preconditions	1 uid 0,2 resourceVersion 0
19 ServerAddressByClientCIDR	1 clientCIDR 0,2 serverAddress 0
19 Status	1 metadata 10,2 status 0,3 message 0,4 reason 0,5 details 426,6 code 5
19 StatusCause	1 reason 0,2 message 0,3 field 0
19 StatusDetails	1 name 0,2 group 0,3 kind 0,4 causes 427,5 retryAfterSeconds 5,6 uid 0
19 Time	1 seconds 26,2 nanos 5
19 Verbs	1 items 6
19 WatchEvent	1 type 0,2 object 33
20 RawExtension	1 raw 32
21 IntOrString	1 type 26,2 intVal 5,3 strVal 0`;
