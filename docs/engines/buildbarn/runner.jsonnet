// bb_runner: starts the commands of the worker beside it. It has no sandbox: run it where all that commands may see is what
// they should, and as root only to become the user below. As root itself, a command could write to files that others share.
local dir = '/srv/buildbarn/' + std.extVar('WORKER') + '/';

{
  buildDirectoryPath: dir + 'build',
  grpcServers: [{
    listenPaths: [dir + 'runner'],
    authenticationPolicy: { allow: {} },
  }],
  runCommandsAs: { userId: 65534, groupId: 65534 },
  setTmpdirEnvironmentVariable: true,
}
