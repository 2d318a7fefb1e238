// bb_storage: blobs and action results on this machine's disk, and the address that clients are given.
local dir = '/srv/buildbarn/';
local MiB = 1024 * 1024;

// A ring of blocks: what is needed again is copied ahead, the rest is overwritten in time. The largest blob is one block:
// size / (oldBlocks + currentBlocks + newBlocks + spareBlocks). To change a size is to begin empty.
local ring(name, size, index, newBlocks) = {
  'local': {
    keyLocationMapOnBlockDevice: { file: { path: dir + name + '/index', sizeBytes: index } },
    keyLocationMapMaximumGetAttempts: 16,
    keyLocationMapMaximumPutAttempts: 64,
    oldBlocks: 8,
    currentBlocks: 24,
    newBlocks: newBlocks,
    blocksOnBlockDevice: {
      source: { file: { path: dir + name + '/blocks', sizeBytes: size } },
      spareBlocks: 3,
    },
    // What is newer than the last epoch is lost when the process is killed.
    persistent: { stateDirectoryPath: dir + name + '/state', minimumEpochInterval: '300s' },
  },
};

{
  grpcServers: [{
    listenAddresses: ['127.0.0.1:8980'],
    authenticationPolicy: { allow: {} },
  }],
  maximumMessageSizeBytes: 4 * MiB,
  contentAddressableStorage: {
    // 48 GiB, a sparse file at first: a blob may have up to 1.2 GiB.
    backend: ring('cas', 48 * 1024 * MiB, 64 * MiB, 3),
    getAuthorizer: { allow: {} },
    putAuthorizer: { allow: {} },
    findMissingAuthorizer: { allow: {} },
  },
  actionCache: {
    // A result is given out only if all of its blobs are there.
    backend: {
      completenessChecking: {
        backend: ring('ac', 256 * MiB, 8 * MiB, 1),
        maximumTotalTreeSizeBytes: 64 * MiB,
      },
    },
    getAuthorizer: { allow: {} },
    putAuthorizer: { allow: {} },
  },
  // Of every instance name.
  schedulers: { '': { endpoint: { address: '127.0.0.1:8982' } } },
  executeAuthorizer: { allow: {} },
}
