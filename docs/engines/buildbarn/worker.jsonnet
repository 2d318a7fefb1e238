// bb_worker: fetches what actions need and stores what they made. One with its runner on each machine; WORKER is its name.
local name = std.extVar('WORKER');
local dir = '/srv/buildbarn/' + name + '/';

{
  // The runner's commands are another user's, who must write where this one makes directories.
  global: { setUmask: { umask: 0 } },
  blobstore: {
    contentAddressableStorage: { grpc: { client: { address: '127.0.0.1:8980' } } },
    actionCache: { grpc: { client: { address: '127.0.0.1:8980' } } },
  },
  maximumMessageSizeBytes: 4 * 1024 * 1024,
  scheduler: { address: '127.0.0.1:8983' },
  buildDirectories: [{
    native: {
      buildDirectoryPath: dir + 'build',
      cacheDirectoryPath: dir + 'cache',
      maximumCacheFileCount: 10000,
      maximumCacheSizeBytes: 1024 * 1024 * 1024,
      cacheReplacementPolicy: 'LEAST_RECENTLY_USED',
    },
    runners: [{
      endpoint: { address: 'unix://' + dir + 'runner' },
      // Actions at once.
      concurrency: 2,
      // Properties that actions must have, as { properties: [{ name: 'OSFamily', value: 'linux' }] }, sorted.
      platform: {},
      workerId: { host: name },
      maximumFilePoolFileCount: 10000,
      maximumFilePoolSizeBytes: 1024 * 1024 * 1024,
    }],
  }],
  inputDownloadConcurrency: 10,
  outputUploadConcurrency: 11,
  directoryCache: {
    maximumCount: 1000,
    maximumSizeBytes: 1024 * 1024,
    cacheReplacementPolicy: 'LEAST_RECENTLY_USED',
  },
}
