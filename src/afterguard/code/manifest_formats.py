"""Readers of single manifest and lock formats, each (Parsed) -> Packages with the physical line they are written on.

In: Parsed, with a Document where the format is JSON, TOML or YAML, otherwise its bytes. Out: Packages. Line formats are read line
by line with linear expressions; a line that does not fit is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from afterguard.code.document import Node
from afterguard.code.manifest import MAX_LINE, Package, exact, requirement, scalar, setup_py
from afterguard.code.parse import Parsed

_POETRY_GROUPS = ("dependencies", "dev-dependencies")


def lines(parsed: Parsed) -> Iterator[tuple[int, str]]:
    """(number, text) of each line, over-long ones cut."""
    for number, raw in enumerate(parsed.source.data.split(b"\n"), 1):
        yield number, raw[:MAX_LINE].decode("utf-8", "replace").rstrip("\r")


def roots(parsed: Parsed) -> Iterator[Node]:
    """Maps at the top of the document, read here where the file's kind did not say that it is one."""
    document = parsed.document
    if document is None:
        from afterguard.code import json, toml

        document = (json if parsed.source.data.lstrip()[:1] == b"{" else toml).parse(parsed.source)
    for root in document.roots:
        if root.kind == "map":
            yield root


def pairs(node: Node | None) -> Iterator[tuple[str, int, Node]]:
    """(key, line of the key, value) of a map."""
    for key, value in node.fields if node is not None and node.kind == "map" else ():
        yield key.text, key.line, value


def items(node: Node | None) -> tuple[Node, ...]:
    return node.items if node is not None and node.kind == "list" else ()


def requirements(parsed: Parsed) -> Iterator[Package]:
    """requirements.txt, constraints.txt and pip-tools' .in files."""
    for number, text in lines(parsed):
        found = requirement(text, number)
        if found is not None:
            yield found


def pyproject(parsed: Parsed) -> Iterator[Package]:
    """PEP 621, dependency groups, Poetry, PDM, uv and build requirements."""
    for root in roots(parsed):
        lists = [
            root.get("project", "dependencies"),
            root.get("build-system", "requires"),
            root.get("tool", "uv", "dev-dependencies"),
        ]
        for held in (
            root.get("project", "optional-dependencies"),
            root.get("dependency-groups"),
            root.get("tool", "pdm", "dev-dependencies"),
        ):
            lists.extend(value for _, _, value in pairs(held))
        for one in lists:
            for node in items(one):
                found = requirement(node.text, node.line) if node.kind == "text" else None
                if found is not None:
                    yield found
        poetry = root.get("tool", "poetry")
        tables = [poetry.get(name) for name in _POETRY_GROUPS] if poetry is not None else []
        tables += [
            value.get("dependencies") for _, _, value in pairs(poetry.get("group") if poetry is not None else None)
        ]
        for table in tables:
            for name, line, value in pairs(table):
                if name.lower() != "python":
                    yield _named("pypi", name, value, line)


def pipfile(parsed: Parsed) -> Iterator[Package]:
    """Pipfile."""
    for root in roots(parsed):
        for section in ("packages", "dev-packages"):
            for name, line, value in pairs(root.get(section)):
                yield _named("pypi", name, value, line)


def _named(ecosystem: str, name: str, value: Node, line: int) -> Package:
    """name = "spec" or name = {version = "spec", git = ...}."""
    if value.kind == "list" and value.items:
        value = value.items[0]
    spec = scalar(value) if value.kind != "map" else scalar(value.get("version"))
    source = next(
        (scalar(value.get(key)) for key in ("git", "path", "url", "file") if value.kind == "map" and value.get(key)), ""
    )
    plain = re.sub(r"[-_.]+", "-", name).lower() if ecosystem == "pypi" else name
    pinned = exact(spec) if spec.startswith("=") or ecosystem == "pypi" else ""
    return Package(ecosystem, plain, pinned, spec[:200], line, source=source[:200])


def pipfile_lock(parsed: Parsed) -> Iterator[Package]:
    """Pipfile.lock."""
    for root in roots(parsed):
        for section in ("default", "develop"):
            for name, line, value in pairs(root.get(section)):
                spec = scalar(value.get("version")) if value.kind == "map" else ""
                yield Package("pypi", name.lower(), exact(spec), spec, line, True)


def toml_lock(ecosystem: str) -> Callable[[Parsed], Iterator[Package]]:
    """poetry.lock, uv.lock, pdm.lock, Cargo.lock: [[package]] with name and version."""

    def read(parsed: Parsed) -> Iterator[Package]:
        for root in roots(parsed):
            for one in items(root.get("package")):
                name = one.get("name")
                version = scalar(one.get("version"))
                if name is not None and scalar(name):
                    yield Package(ecosystem, scalar(name).lower(), version, version, name.line, True)

    return read


def setup_cfg(parsed: Parsed) -> Iterator[Package]:
    """setup.cfg: indented lines below install_requires and the extras."""
    section = ""
    listed = False
    for number, text in lines(parsed):
        head = re.match(r"\[([^\]]+)\]", text)
        if head:
            section, listed = head.group(1), head.group(1) == "options.extras_require"
            continue
        key = re.match(r"([\w.-]+)\s*=\s*(.*)", text)
        if key:
            wanted = key.group(1) in ("install_requires", "setup_requires", "tests_require")
            listed = wanted or section == "options.extras_require"
            text = " " + key.group(2)
        found = requirement(text, number) if listed and text.strip() and section.startswith("options") else None
        if found is not None:
            yield found


def conda(parsed: Parsed) -> Iterator[Package]:
    """environment.yml: conda specs (name=version=build) and the pip list inside."""
    for root in roots(parsed):
        for one in items(root.get("dependencies")):
            if one.kind == "map":
                for node in items(one.get("pip")):
                    found = requirement(node.text, node.line)
                    if found is not None:
                        yield found
                continue
            found_name = re.match(r"(?:[\w./-]+::)?([A-Za-z][\w.-]*)\s*(.*)", one.text[:300])
            if found_name and found_name.group(1).lower() not in ("python", "pip"):
                spec = found_name.group(2).strip()
                version = re.sub(r"^=+", "", spec).split("=")[0] if re.match(r"=+[\d.]+(=\S+)?$", spec) else ""
                yield Package("pypi", found_name.group(1).lower(), version, spec, one.line)


def package_json(parsed: Parsed) -> Iterator[Package]:
    """package.json."""
    for root in roots(parsed):
        for section in ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies"):
            for name, line, value in pairs(root.get(section)):
                spec = scalar(value)
                outside = spec if re.match(r"(git|https?:|file:|github:|link:|workspace:)", spec) else ""
                alias = re.match(r"npm:(@?[^@]+)@?(.*)", spec)
                if alias:
                    name, spec = alias.group(1), alias.group(2)
                yield Package("npm", name, exact(spec), spec[:200], line, source=outside[:200])


def package_lock(parsed: Parsed) -> Iterator[Package]:
    """package-lock.json of all versions, npm-shrinkwrap.json."""
    for root in roots(parsed):
        held = root.get("packages")
        for name, line, value in pairs(held):
            plain = name.rpartition("node_modules/")[2]
            if plain and value.kind == "map":
                version = scalar(value.get("version"))
                yield Package("npm", scalar(value.get("name")) or plain, version, version, line, True)
        stack = [root.get("dependencies")] if held is None else []
        while stack:
            for name, line, value in pairs(stack.pop()):
                if value.kind == "map":
                    version = scalar(value.get("version"))
                    yield Package("npm", name, version, version, line, True)
                    stack.append(value.get("dependencies"))


def yarn_lock(parsed: Parsed) -> Iterator[Package]:
    """yarn.lock, both generations."""
    name, line = "", 0
    for number, text in lines(parsed):
        head = (
            re.match(r"\"?((?:@[^/\"@]+/)?[^@\"\s,]+)@[^:]*:?.*:\s*$", text) if text[:1] not in (" ", "#", "") else None
        )
        if head:
            name, line = head.group(1), number
            continue
        found = re.match(r"\s+\"?version\"?:?\s+\"?([^\"\s]+)\"?\s*$", text)
        if found and name:
            if name != "__metadata":
                yield Package("npm", name, exact(found.group(1)), found.group(1), line, True)
            name = ""


def pnpm_lock(parsed: Parsed) -> Iterator[Package]:
    """pnpm-lock.yaml: keys of `packages` are name@version or /name/version."""
    for root in roots(parsed):
        for key, line, _ in pairs(root.get("packages")):
            found = re.match(r"/?((?:@[^/@]+/)?[^/@(]+)[@/]([^(_]+)", key)
            if found:
                yield Package("npm", found.group(1), exact(found.group(2)), found.group(2), line, True)


def bun_lock(parsed: Parsed) -> Iterator[Package]:
    """bun.lock, the text one: packages -> [name@version, ...]."""
    for root in roots(parsed):
        for _, line, value in pairs(root.get("packages")):
            head = scalar(items(value)[0]) if items(value) else ""
            name, _, version = head.rpartition("@")
            if name:
                yield Package("npm", name, exact(version), version, line, True)


def go_mod(parsed: Parsed) -> Iterator[Package]:
    """go.mod: require lines; replaced modules keep their own name."""
    block = ""
    for number, text in lines(parsed):
        plain = text.partition("//")[0].strip()
        opened = re.match(r"(\w+)\s*\($", plain)
        if opened:
            block = opened.group(1)
        elif plain == ")":
            block = ""
        else:
            found = re.match(r"(?:require\s+)?(\S+\.\S+/\S*|\S+\.\S+)\s+(v\S+)$", plain)
            if found and (block == "require" or plain.startswith("require")):
                yield Package("go", found.group(1), found.group(2), found.group(2), number)


def go_sum(parsed: Parsed) -> Iterator[Package]:
    """go.sum: modules whose code, not only their go.mod, was checked."""
    for number, text in lines(parsed):
        found = re.match(r"(\S+) (v\S+) h1:", text)
        if found and not found.group(2).endswith("/go.mod"):
            yield Package("go", found.group(1), found.group(2), found.group(2), number, True)


_XML = re.compile(rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<[/!?]?[A-Za-z][^<>]{0,2000}>|[^<]+", re.S)


def elements(data: bytes) -> Iterator[tuple[str, int, dict[str, str], str]]:
    """(path of an element, line, attributes, text) at its end; entities stay as written, declarations are passed over."""
    stack: list[tuple[str, int, dict[str, str]]] = []
    text, line = "", 1
    for found in _XML.finditer(data):
        raw = found.group()
        if raw[:1] != b"<":
            text = raw.decode("utf-8", "replace").strip()[:500]
        elif raw[:2] == b"</":
            name = raw[2:-1].strip().decode("utf-8", "replace")
            while stack and stack[-1][0] != name:
                stack.pop()
            if stack:
                yield "/".join(one[0] for one in stack), stack[-1][1], stack[-1][2], text
                stack.pop()
            text = ""
        elif raw[1:2].isalpha():
            body = raw[1:-1].decode("utf-8", "replace")
            attributes = dict(re.findall(r"([\w:.-]+)\s*=\s*[\"']([^\"']*)[\"']", body))
            name = re.split(r"[\s/]", body, maxsplit=1)[0]
            if body.endswith("/"):
                yield "/".join([*(one[0] for one in stack), name]), line, attributes, ""
            elif len(stack) < 60:
                stack.append((name, line, attributes))
            text = ""
        line += raw.count(b"\n")


def pom(parsed: Parsed) -> Iterator[Package]:
    """pom.xml: dependencies, properties put in, managed versions used where a dependency gives none."""
    properties: dict[str, str] = {}
    found: list[tuple[str, str, str, int, bool]] = []
    now: dict[str, str] = {}
    start = 0
    for path, line, _, text in elements(parsed.source.data):
        parent, _, name = path.rpartition("/")
        if parent.endswith("project/properties"):
            properties[name] = text
        elif path in ("project/version", "project/parent/version"):
            properties.setdefault("project.version", text)
        elif parent.endswith("/dependency") and name in ("groupId", "artifactId", "version"):
            now[name] = text
            start = line if name == "artifactId" else start
        elif name == "dependency":
            found.append(
                (
                    now.get("groupId", ""),
                    now.get("artifactId", ""),
                    now.get("version", ""),
                    start or line,
                    "dependencyManagement" in path,
                )
            )
            now, start = {}, 0

    def put_in(text: str) -> str:
        return re.sub(r"\$\{([\w.-]+)\}", lambda hit: properties.get(hit.group(1), hit.group(0)), text)

    managed = {(group, artifact): version for group, artifact, version, _, is_managed in found if is_managed}
    for group, artifact, version, line, _ in found:
        spec = put_in(version or managed.get((group, artifact), ""))
        yield Package(
            "maven", f"{put_in(group)}:{put_in(artifact)}", spec if re.fullmatch(r"\d[\w.-]*", spec) else "", spec, line
        )


_GRADLE = re.compile(
    r"^\s*(?:\w*[iI]mplementation|api|\w*[cC]ompile(?:Only)?|runtimeOnly|kapt|ksp|annotationProcessor|\w*[pP]latform|classpath)\b\W*(.*)"
)


def gradle(parsed: Parsed) -> Iterator[Package]:
    """build.gradle(.kts): coordinates as one text or as group, name and version."""
    for number, text in lines(parsed):
        head = _GRADLE.match(text)
        if not head:
            continue
        for group, name, version in re.findall(r"[\"']([\w.-]+):([\w.-]+)(?::([^\"':@]+))?[^\"']*[\"']", text):
            yield Package("maven", f"{group}:{name}", exact(version), version, number)
        named = re.search(
            r"group\s*[:=]\s*[\"']([^\"']+)[\"'].*?name\s*[:=]\s*[\"']([^\"']+)[\"'](?:.*?version\s*[:=]\s*[\"']([^\"']+)[\"'])?",
            text,
        )
        if named:
            version = named.group(3) or ""
            yield Package("maven", f"{named.group(1)}:{named.group(2)}", exact(version), version, number)


def gradle_lock(parsed: Parsed) -> Iterator[Package]:
    """gradle.lockfile: group:name:version=configurations."""
    for number, text in lines(parsed):
        found = re.match(r"([\w.-]+):([\w.-]+):([\w.+-]+)=", text)
        if found:
            yield Package("maven", f"{found.group(1)}:{found.group(2)}", found.group(3), found.group(3), number, True)


def versions_toml(parsed: Parsed) -> Iterator[Package]:
    """Gradle version catalogue: libraries with module, version or version.ref."""
    for root in roots(parsed):
        versions = {name: scalar(value) for name, _, value in pairs(root.get("versions"))}
        for _, line, value in pairs(root.get("libraries")):
            if value.kind != "map":
                parts = scalar(value).split(":")
                if len(parts) > 1:
                    yield Package("maven", ":".join(parts[:2]), exact(":".join(parts[2:3])), ":".join(parts[2:3]), line)
                continue
            module = scalar(value.get("module")) or f"{scalar(value.get('group'))}:{scalar(value.get('name'))}"
            ref = scalar(value.get("version", "ref"))
            version = versions.get(ref, "") if ref else scalar(value.get("version"))
            if ":" in module and len(module) > 1:
                yield Package("maven", module, exact(version), version, line)


def cargo(parsed: Parsed) -> Iterator[Package]:
    """Cargo.toml."""
    for root in roots(parsed):
        for section in ("dependencies", "dev-dependencies", "build-dependencies"):
            for table in (root.get(section), root.get("workspace", section)):
                for name, line, value in pairs(table):
                    yield _named("cargo", name, value, line)


def gemfile(parsed: Parsed) -> Iterator[Package]:
    """Gemfile."""
    for number, text in lines(parsed):
        found = re.match(r"\s*gem\s+[\"']([\w.-]+)[\"'](?:\s*,\s*[\"']([^\"']+)[\"'])?", text)
        if found:
            yield Package("gem", found.group(1), exact(found.group(2) or ""), found.group(2) or "", number)


def gemfile_lock(parsed: Parsed) -> Iterator[Package]:
    """Gemfile.lock: four blanks, name and version in brackets."""
    for number, text in lines(parsed):
        found = re.match(r" {4}([\w.-]+) \(([\w.]+)[^)]*\)$", text)
        if found:
            yield Package("gem", found.group(1), found.group(2), found.group(2), number, True)


def composer(parsed: Parsed) -> Iterator[Package]:
    """composer.json and composer.lock."""
    for root in roots(parsed):
        for section in ("require", "require-dev"):
            for name, line, value in pairs(root.get(section)):
                if "/" in name:
                    yield Package("packagist", name.lower(), exact(scalar(value)), scalar(value), line)
        for section in ("packages", "packages-dev"):
            for one in items(root.get(section)):
                name_node, version = one.get("name"), scalar(one.get("version"))
                if name_node is not None:
                    yield Package("packagist", scalar(name_node).lower(), exact(version), version, name_node.line, True)


def csproj(parsed: Parsed) -> Iterator[Package]:
    """*.csproj and central package versions."""
    held: tuple[str, int] | None = None
    version_inside = ""
    for path, line, attributes, text in elements(parsed.source.data):
        name = path.rpartition("/")[2]
        if name == "Version" and "PackageReference" in path:
            version_inside = text
        if name in ("PackageReference", "PackageVersion") and attributes.get("Include"):
            held = (attributes["Include"], line)
            version = attributes.get("Version") or version_inside
            version_inside = ""
            yield Package("nuget", held[0], exact(version), version, line)


BY_NAME: dict[str, Callable[[Parsed], Iterator[Package]]] = {
    "pyproject.toml": pyproject, "setup.py": setup_py, "setup.cfg": setup_cfg, "pipfile": pipfile, "pipfile.lock": pipfile_lock,
    "poetry.lock": toml_lock("pypi"), "uv.lock": toml_lock("pypi"), "pdm.lock": toml_lock("pypi"), "pylock.toml": toml_lock("pypi"),
    "package.json": package_json, "package-lock.json": package_lock, "npm-shrinkwrap.json": package_lock, "yarn.lock": yarn_lock,
    "pnpm-lock.yaml": pnpm_lock, "bun.lock": bun_lock, "go.mod": go_mod, "go.sum": go_sum, "pom.xml": pom,
    "build.gradle": gradle, "build.gradle.kts": gradle, "gradle.lockfile": gradle_lock, "libs.versions.toml": versions_toml,
    "cargo.toml": cargo, "cargo.lock": toml_lock("cargo"), "gemfile": gemfile, "gemfile.lock": gemfile_lock,
    "composer.json": composer, "composer.lock": composer,
}  # fmt: skip
