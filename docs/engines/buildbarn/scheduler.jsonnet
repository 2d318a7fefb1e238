// bb_scheduler: the queue. It is in memory: who starts it anew has clients send again what they wait for.
{
  clientGrpcServers: [{
    listenAddresses: ['127.0.0.1:8982'],
    authenticationPolicy: { allow: {} },
  }],
  workerGrpcServers: [{
    listenAddresses: ['127.0.0.1:8983'],
    authenticationPolicy: { allow: {} },
  }],
  contentAddressableStorage: { grpc: { client: { address: '127.0.0.1:8980' } } },
  // Without it every Execute fails.
  maximumMessageSizeBytes: 4 * 1024 * 1024,
  executeAuthorizer: { allow: {} },
  modifyDrainsAuthorizer: { allow: {} },
  killOperationsAuthorizer: { allow: {} },
  synchronizeAuthorizer: { allow: {} },
  actionRouter: {
    simple: {
      // Exactly the properties of a worker, no more and no fewer.
      platformKeyExtractor: { action: {} },
      // Fair between invocations.
      invocationKeyExtractors: [{ toolInvocationId: {} }],
      initialSizeClassAnalyzer: {
        defaultExecutionTimeout: '1800s',
        maximumExecutionTimeout: '7200s',
      },
    },
  },
  // How long actions wait where the last worker has gone.
  platformQueueWithNoWorkersTimeout: '900s',
}
