"""Calls that act: which argument of which call is run, asked, opened or shown, in any language.

In: a call as flow saw it. Out: the values that must not come from a model, by kind of sink: eval, shell, sql, template, path,
html. It looks at names and at the shape of arguments; where the values come from is the checks' question.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.syntax import Expr, argument, walk
from afterguard.scan.flow import Seen
from afterguard.scan.recognise import Tails, fold
from afterguard.scan.value import EMPTY, Value

EVAL = {
    "eval", "exec", "builtins.eval", "builtins.exec", "function", "vm.runinnewcontext", "vm.runinthiscontext", "runinnewcontext",
    "runinthiscontext", "runincontext", "vm.script", "vm.compilefunction", "pd.eval",
    "pandas.eval", "sympy.sympify", "sympify", "parseexpr", "importlib.importmodule", "asteval", "interpreter.eval",
    "runpy.runpath", "code.interact", "runsource", "runcode", "runcell", "excel", "scriptengine.eval", "engine.eval",
    "groovyshell.evaluate", "shell.evaluate", "js2py.evaljs", "evaljs", "execjs.eval", "otto.run", "goja.runstring",
    "runstring", "spelexpressionparser.parseexpression", "parser.parseexpression", "pythonrepl.run", "pythonastrepltool.run",
    "pythonrepltool.run", "pythonrepl().run", "timeit.timeit", "exec.globals",
}  # fmt: skip
_EVAL = Tails(EVAL)
_NOT_EVAL = (
    "model.eval",
    "session.",
    "cursor.",
    "db.",
    "conn",
    "regex",
    ".re.",
    "pattern",
    "redis",
    "container",
    "ssh",
    "sandbox",
)
SHELL = {
    "os.system", "os.popen", "commands.getoutput", "subprocess.getoutput", "subprocess.getstatusoutput", "popen2",
    "asyncio.createsubprocessshell", "createsubprocessshell", "pexpect.run", "pexpect.spawn", "childprocess.exec",
    "childprocess.execsync", "execsync", "execa.command", "execacommand", "execacommandsync", "shelljs.exec", "shell.exec",
    "execcommand", "zx.$", "platform.popen", "runtime.exec", "getruntime.exec", "shelltool.run", "bashprocess.run", "fabric.run",
    "bunspawn", "execasync", "execpromise",
}  # fmt: skip
_SHELL = Tails(SHELL)
LISTED = {
    "subprocess.run", "subprocess.call", "subprocess.popen", "subprocess.checkoutput", "subprocess.checkcall", "os.execv",
    "os.execvp", "os.spawnv", "asyncio.createsubprocessexec", "createsubprocessexec", "childprocess.spawn",
    "childprocess.spawnsync", "childprocess.execfile", "childprocess.execfilesync", "exec.command", "exec.commandcontext",
    "processbuilder", "spawn", "spawnsync", "execfile", "execa", "anyio.runprocess",
}  # fmt: skip
_LISTED = Tails(LISTED)
SHELLS = ("sh", "bash", "zsh", "/bin/sh", "/bin/bash", "cmd", "cmd.exe", "powershell", "pwsh", "/usr/bin/env")
_SQL_METHODS = {
    "execute", "executemany", "executescript", "execdriversql", "executequery", "executeupdate", "executelargeupdate", "preparestatement",
    "query", "queryrow", "querycontext", "queryrowcontext", "execcontext", "exec", "raw", "rawquery", "$queryrawunsafe",
    "$executerawunsafe", "queryrawunsafe", "readsql", "readsqlquery", "sql", "fetch", "fetchall", "fetchrow", "fetchval",
    "run", "queryforlist", "queryforobject", "queryformap", "createnativequery", "createquery", "unsafe", "all", "get",
    "select", "textquery", "batchexecute", "runnoTthrow",
}  # fmt: skip
_SQL_SURE = {
    "executequery", "executelargeupdate", "preparestatement", "execdriversql", "rawquery", "$queryrawunsafe",
    "$executerawunsafe", "queryrawunsafe", "executerawunsafe", "readsql", "readsqlquery", "queryforlist", "queryforobject",
    "queryformap", "createnativequery", "queryrowcontext", "querycontext", "execcontext", "executemany", "runnothrow",
}  # fmt: skip
_SQL_RECEIVERS = (
    "cursor", "cur", "conn", "connection", "connect", "db", "database", "session", "engine", "pool", "knex", "pg", "sql", "statement",
    "stmt", "sqlite", "mysql", "postgres", "duckdb", "bigquery", "bq", "snowflake", "prisma", "sequelize", "jdbc", "jdbctemplate", "jdbcclient", "tx",
    "transaction", "entitymanager", "datasource", "spark", "asyncpg", "psycopg", "clickhouse", "client.query", "repository",
    "supabase", "warehouse", "txn",
)  # fmt: skip
TEMPLATE = {
    "jinja2.template", "jinja2.environment.fromstring", "environment.fromstring", "fromstring", "rendertemplatestring",
    "flask.rendertemplatestring", "mako.template.template", "django.template.template", "template.template", "ejs.render", "ejs.compile",
    "handlebars.compile", "hbs.compile", "nunjucks.renderstring", "nunjucks.compile", "pug.compile", "pug.render",
    "mustache.render", "doT.template", "lodash.template", "_.template", "liquid.parseandrender", "velocity.evaluate",
    "velocityengine.evaluate", "templateengine.process", "template.new.parse", "tornado.template.template", "chevron.render",
    "template.must", "eta.renderstring", "eta.render",
}  # fmt: skip
_TEMPLATE = Tails(TEMPLATE)
PATH = {
    "open", "builtins.open", "io.open", "codecs.open", "aiofiles.open", "os.remove", "os.unlink", "os.rename", "os.rmdir",
    "os.makedirs", "os.mkdir", "os.listdir", "os.open", "os.scandir", "shutil.rmtree", "shutil.copy", "shutil.move",
    "shutil.copyfile", "shutil.copytree", "sendfile", "sendfromdirectory", "flask.sendfile", "fileresponse", "readtext", "writetext",
    "readbytes", "writebytes", "fs.readfile", "fs.readfilesync", "fs.writefile", "fs.writefilesync", "fs.unlink", "fs.unlinksync",
    "fs.rm", "fs.rmsync", "fs.createreadstream", "fs.createwritestream", "fs.appendfile", "fs.appendfilesync", "fs.readdir",
    "fs.readdirsync", "fs.mkdir", "fs.mkdirsync", "fspromises.readfile", "fspromises.writefile", "promises.readfile",
    "promises.writefile", "readfilesync", "writefilesync", "unlinksync", "res.sendfile", "files.readstring", "files.write",
    "files.writestring", "files.delete", "files.newbufferedreader", "files.readallbytes", "files.readalllines", "filereader",
    "filewriter", "fileinputstream", "fileoutputstream", "os.readfile", "os.writefile", "os.create", "os.openfile", "os.removeall",
    "ioutil.readfile", "ioutil.writefile", "readfile", "writefile", "unlink", "rmtree", "extractall", "bun.file", "deno.readtextfile",
    "deno.writetextfile", "deno.remove",
}  # fmt: skip
_PATH = Tails(PATH)
HTML = {
    "markupsafe.markup", "markup", "flask.markup", "marksafe", "htmlresponse", "insertadjacenthtml", "document.write",
    "document.writeln", "template.html", "bypasssecuritytrusthtml", "htmlunsafe", "setinnerhtml", "innerhtml", "unsafehtml",
    "createcontextualfragment", "parsefromstring", "st.html", "streamlit.html", "components.html", "ui.html", "htmlstring",
    "displayhtml", "html.raw", "ipython.display.html", "gr.html", "gradio.html", "safestring", "handlebars.safestring",
}  # fmt: skip
_HTML = Tails(HTML)


def at(seen: Seen, position: int, *names: str) -> Value:
    """The argument at a position or under one of the names."""
    held = seen.key(*names) if names else EMPTY
    if held is not EMPTY:
        return held
    return seen.args[position] if position < len(seen.args) else EMPTY


def dangerous(seen: Seen, sink: str) -> Iterator[Value]:
    """Values of a call that a sink of that kind acts on; nothing when the call is no such sink."""
    yield from _BY_KIND[sink](seen)


def _eval(seen: Seen) -> Iterator[Value]:
    found = _EVAL.match(seen.folded)
    if not found or any(word in f".{seen.folded}" for word in _NOT_EVAL):
        return
    if (
        (
            found in ("eval", "exec", "function")
            and "." in seen.folded
            and not seen.folded.startswith(("builtins.", "window.", "globalthis."))
        )
        and "scriptengine" not in seen.folded
        and "js" not in seen.folded.rsplit(".", 1)[0]
    ):
        return
    yield from seen.args[:1] if found != "function" else seen.args
    yield seen.key("source", "code", "expression", "expr", "command")


def _shell(seen: Seen) -> Iterator[Value]:
    call = seen.call
    if _SHELL.match(seen.folded) or (seen.folded in ("exec", "promisify.exec") and _child_process(seen)):
        yield at(seen, 0, "cmd", "command")
        if seen.folded.endswith("execcommand") and len(seen.args) > 1:
            yield seen.args[1]
        return
    if not _LISTED.match(seen.folded):
        return
    first = argument(call, "args", 0) or argument(call, "cmd")
    if _is_true(argument(call, "shell")):
        yield at(seen, 0, "args", "cmd")
        yield from seen.args[1:2]
    elif first is not None and first.kind == "list":
        yield from _command(seen, first, list(first.parts))
    elif seen.folded.endswith(
        (
            "createsubprocessexec",
            "exec.command",
            "spawn",
            "spawnsync",
            "execfile",
            "execfilesync",
            "execa",
            "processbuilder",
        )
    ):
        rest = list(call.parts)
        if len(rest) > 1 and rest[1].kind == "list":
            rest = [rest[0], *rest[1].parts]
        yield from _command(seen, first, rest)
    elif seen.folded.endswith("commandcontext"):
        yield from _command(seen, first, list(call.parts[1:]))
    else:
        yield at(seen, 0, "args", "cmd")


def _command(seen: Seen, first: Expr | None, words: list[Expr]) -> Iterator[Value]:
    """The program named by a model, or the text after `sh -c`."""
    if not words:
        return
    head = words[0].text.lower() if words[0].kind == "text" else ""
    if (
        not head
        or head in SHELLS
        or head.rsplit("/", 1)[-1] in ("python", "python3", "node", "perl", "ruby", "eval", "ssh")
    ):
        flags = [w.text for w in words[1:] if w.kind == "text"]
        if not head:
            yield _whole(seen, words[0])
        elif any(flag in ("-c", "-e", "/c", "-Command", "-lc", "-ic", "--eval") for flag in flags) or head == "ssh":
            yield at(seen, 0, "args", "cmd")
            yield from seen.args[1:]


def _whole(seen: Seen, word: Expr) -> Value:
    """The value of the first word of a command list: an argument of its own, or judged through its names."""
    for part, value in zip(seen.call.parts, seen.args):
        if part is word:
            return value
        if part.kind == "list" and part.parts and part.parts[0] is word and len(part.parts) == 1:
            return value
    names = {one.text.split(".")[0] for one in walk(word) if one.kind in ("name", "index")}
    rest = {
        one.text.split(".")[0]
        for part in seen.call.parts
        for sub in part.parts[1:]
        for one in walk(sub)
        if one.kind == "name"
    }
    return at(seen, 0, "args") if names and not rest else EMPTY


def _child_process(seen: Seen) -> bool:
    return "childprocess" in seen.folded or "promisify" in seen.folded


def listed_program(seen: Seen) -> bool:
    """Whether a call starts a program with arguments that are not all fixed."""
    if not _LISTED.match(seen.folded):
        return False
    return any(value.atoms for value in (*seen.args, *(value for _, value in seen.keys)))


def _is_true(expr: Expr | None) -> bool:
    return expr is not None and ((expr.kind == "bool" and expr.text == "true") or expr.kind == "text")


def _sql(seen: Seen) -> Iterator[Value]:
    receiver, dot, last = seen.folded.rpartition(".")
    if last not in _SQL_METHODS or not dot or not (seen.call.parts or seen.call.fields):
        return  # a fetch without argument takes rows of a statement that was judged where it was given
    nearest = fold(seen.call.text).rpartition(".")[0].rsplit(".", 1)[-1]
    sure = last in _SQL_SURE or (last == "query" and nearest.endswith("client"))
    if not sure and not any(
        nearest == word or nearest.endswith(word) or f"{word}." in receiver + "." for word in _SQL_RECEIVERS
    ):
        return
    if nearest.endswith("client") and any(atom.kind == "handle" for atom in seen.receiver.atoms):
        return
    if last in ("all", "get", "select", "fetch", "run", "exec") and not any(
        w in nearest for w in ("db", "conn", "cursor", "pool", "sql", "stmt")
    ):
        return
    if last.endswith("context") or (
        seen.args and last == "exec" and len(seen.args) > 1 and "ctx" in seen.call.parts[0].text.lower()
    ):
        yield at(seen, 1)
        return
    yield at(seen, 0, "sql", "query", "statement", "operation", "command", "text")


def _template(seen: Seen) -> Iterator[Value]:
    found = _TEMPLATE.match(seen.folded)
    if found == "fromstring" and not any(word in seen.folded for word in ("jinja", "env", "template")):
        return
    if not found or "sandbox" in seen.folded or seen.name.endswith("()()"):
        return
    if seen.folded.endswith(("string.template", "safesubstitute")):
        return
    position = 1 if "freemarker" in seen.folded else 0  # there the name of the template comes first
    yield at(seen, position, "source", "template", "text")


def _path(seen: Seen) -> Iterator[Value]:
    found = _PATH.match(seen.folded)
    if not found or seen.folded.startswith(("webbrowser", "window", "image.", "pil.", "xhr", "zipfile", "tarfile")):
        return
    if found in ("readtext", "writetext", "readbytes", "writebytes") or (
        found in ("unlink", "open") and "." in seen.folded and not found.startswith(("io.", "fs.")) and not seen.args
    ):
        yield seen.receiver
    elif found == "open" and "." in seen.folded and not seen.folded.startswith(("builtins.", "pathlib.")):
        if "path" in seen.folded:
            yield seen.receiver
    elif found in ("extractall",):
        yield at(seen, 0, "path")
    else:
        yield at(seen, 0, "file", "path", "filename", "src", "path_or_file")
        if found in (
            "sendfromdirectory",
            "shutil.copy",
            "shutil.move",
            "shutil.copyfile",
            "os.rename",
            "shutil.copytree",
        ):
            yield at(seen, 1, "dst", "filename", "path")


def _html(seen: Seen) -> Iterator[Value]:
    found = _HTML.match(seen.folded)
    if found:
        yield at(seen, 1 if found == "insertadjacenthtml" else 0, "content", "body", "data")
    elif seen.folded.endswith(("st.markdown", "streamlit.markdown", "st.write", "streamlit.write")):
        if _is_true(argument(seen.call, "unsafe_allow_html")):
            yield at(seen, 0, "body")
    elif seen.folded.endswith(".html") and seen.args and seen.call.text.startswith(("$", "jQuery")):
        yield seen.args[0]


_BY_KIND = {"eval": _eval, "shell": _shell, "sql": _sql, "template": _template, "path": _path, "html": _html}
