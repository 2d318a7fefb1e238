"""Directories as outputs and inputs."""

def _tree(ctx):
    out = ctx.actions.declare_directory(ctx.label.name)
    ctx.actions.run_shell(outputs = [out], arguments = [out.path], command = ctx.attr.cmd)
    return [DefaultInfo(files = depset([out]))]

tree = rule(implementation = _tree, attrs = {"cmd": attr.string()})

def _listing(ctx):
    out = ctx.actions.declare_file(ctx.label.name + ".txt")
    tree = ctx.file.tree
    ctx.actions.run_shell(
        inputs = [tree],
        outputs = [out],
        arguments = [tree.path, out.path],
        command = "(cd $1 && find . -follow -type d -o -printf '%P %s\\n' | sort" +
                  " && if [ -e a/run ]; then a/run; fi) > $2",
    )
    return [DefaultInfo(files = depset([out]))]

listing = rule(
    implementation = _listing,
    attrs = {"tree": attr.label(allow_single_file = True)},
)
