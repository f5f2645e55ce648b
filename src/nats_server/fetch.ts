/**
 * Downloads a nats-server and unpacks it into a folder of the caller's: Debian's package, verified by the system's
 * archive keyring, or the project's release, verified by its published checksums. apt works on a state of its own
 * here; the system's package lists and packages are never touched.
 */
import { Buffer } from "node:buffer";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";

const defaultMirror = "http://deb.debian.org/debian/";

const archiveKeyrings = [
  "/usr/share/keyrings/debian-archive-keyring.gpg",
  "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/**
 * Fetches the nats-server package of a Debian suite and unpacks it below `folder`.
 *
 * @returns the path of the executable
 */
export async function unpackDebianPackage(suite: string, folder: string): Promise<string> {
  const mirror = await debianMirror();
  const keyring = await firstExisting(archiveKeyrings);
  if (keyring === undefined) {
    throw new Error(
      `no archive keyring to verify packages with (looked for ${archiveKeyrings.join(", ")}); ` +
        `install the package debian-archive-keyring`,
    );
  }
  const apt = await mkdtemp(join(tmpdir(), "nats-dyrygent-apt-"));
  try {
    // Run by root, apt downloads as a user of its own, who must be able to enter.
    await chmod(apt, 0o755);
    for (const needed of ["lists/partial", "archives/partial", "download"]) {
      await mkdir(join(apt, needed), { recursive: true });
    }
    await writeFile(join(apt, "status"), "");
    await writeFile(
      join(apt, "sources.list"),
      `deb [signed-by=${keyring} target=Packages pdiffs=no] ${mirror} ${suite} main\n`,
    );
    await writeFile(join(apt, "apt.conf"), privateAptConfig(apt, suite));
    await run("apt-get", ["-q", "-c", join(apt, "apt.conf"), "update"]);
    await run("apt-get", ["-q", "-c", join(apt, "apt.conf"), "download", "nats-server"], {
      cwd: join(apt, "download"),
    });
    const [archive] = await readdir(join(apt, "download"));
    if (archive === undefined) throw new Error(`apt-get download left no package of ${suite}`);
    await run("dpkg-deb", ["-x", join(apt, "download", archive), folder]);
    return await unpackedExecutable([
      join(folder, "usr/sbin/nats-server"),
      join(folder, "usr/bin/nats-server"),
    ]);
  } finally {
    await rm(apt, { recursive: true, force: true });
  }
}

/** Read after the system's own configuration, so that its proxies and certificates still hold. */
function privateAptConfig(apt: string, suite: string): string {
  const settings = {
    "Dir::State": `${apt}/`,
    "Dir::State::lists": `${apt}/lists/`,
    "Dir::State::status": `${apt}/status`,
    "Dir::Cache": `${apt}/`,
    "Dir::Cache::archives": `${apt}/archives/`,
    "Dir::Etc::sourcelist": `${apt}/sources.list`,
    "Dir::Etc::sourceparts": "/dev/null",
    "Dir::Etc::preferences": "/dev/null",
    "Dir::Etc::preferencesparts": "/dev/null",
    // One that is not among the sources would be an error.
    "APT::Default-Release": suite,
    // Otherwise a failed download is a mere warning.
    "APT::Update::Error-Mode": "any",
    "Acquire::Languages": "none",
    "Acquire::Retries": "2",
    "Acquire::http::Timeout": "20",
    "Acquire::https::Timeout": "20",
  };
  // Hooks would tell the desktop about package lists that are not the system's.
  const cleared = ["Pre-Invoke", "Post-Invoke", "Post-Invoke-Success"].map((hook) =>
    `#clear APT::Update::${hook};\n`
  );
  return cleared.join("") +
    Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`).join("");
}

/** The Debian mirror this system is configured for, which may be the only one it can reach. */
async function debianMirror(): Promise<string> {
  const format = "$(CREATED_BY)|$(LABEL)|$(REPO_URI)";
  const listing = await run("apt-get", ["indextargets", "--format", format]);
  const repositories = listing.split("\n")
    .map((line) => line.split("|"))
    .map(([createdBy, label, uri]) => ({ createdBy, label, uri: uri ?? "" }))
    .filter(({ createdBy, uri }) => createdBy === "Packages" && /^https?:/.test(uri));
  // The label is known only after the system's first "apt-get update".
  const mirror = repositories.find(({ label }) => label === "Debian") ??
    repositories.find(({ uri }) => /\/debian\/?$/.test(uri));
  return mirror?.uri ?? defaultMirror;
}

const releasePlatforms: Readonly<Record<string, string>> = {
  darwin: "darwin",
  linux: "linux",
  win32: "windows",
};
const releaseArchitectures: Readonly<Record<string, string>> = {
  arm: "arm7",
  arm64: "arm64",
  x64: "amd64",
};

/**
 * Downloads an official release for this platform, compares it with the release's SHA256SUMS and
 * unpacks it below `folder`.
 *
 * @returns the path of the executable
 */
export async function unpackOfficialRelease(version: string, folder: string): Promise<string> {
  const platform = releasePlatforms[process.platform];
  const architecture = releaseArchitectures[process.arch];
  if (platform === undefined || architecture === undefined) {
    throw new Error(`there is none for ${process.platform} on ${process.arch}`);
  }
  const name = `nats-server-v${version}-${platform}-${architecture}`;
  const archive = `${name}.${platform === "windows" ? "zip" : "tar.gz"}`;
  const releases = `https://github.com/nats-io/nats-server/releases/download/v${version}`;

  const sums = (await download(`${releases}/SHA256SUMS`, 20_000)).toString("utf8");
  const expected = sums.split("\n").map((line) => line.trim().split(/\s+\*?/))
    .find(([, file]) => file === archive)?.[0];
  if (expected === undefined) throw new Error(`${releases}/SHA256SUMS does not list ${archive}`);

  const content = await download(`${releases}/${archive}`, 300_000);
  const actual = createHash("sha256").update(content).digest("hex");
  if (actual !== expected) {
    throw new Error(`${archive} has SHA-256 ${actual}, SHA256SUMS says ${expected}; not using it`);
  }
  await writeFile(join(folder, archive), content);
  await run("tar", ["-xf", archive], { cwd: folder });
  return await unpackedExecutable([
    join(folder, name, platform === "windows" ? "nats-server.exe" : "nats-server"),
  ]);
}

async function download(url: string, timeoutMs: number): Promise<Buffer> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
    if (!response.ok) throw new Error(`HTTP ${response.status} ${response.statusText}`.trim());
    return Buffer.from(await response.arrayBuffer());
  } catch (error) {
    throw new Error(`cannot download ${url}: ${innermostMessage(error)}`, { cause: error });
  }
}

/** "fetch failed" says nothing; the network's own words are the innermost cause. */
function innermostMessage(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : innermostMessage(error.cause);
}

async function unpackedExecutable(places: readonly string[]): Promise<string> {
  const path = await firstExisting(places);
  if (path === undefined) throw new Error(`the archive holds no ${places.join(" or ")}`);
  return path;
}

async function firstExisting(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    if (await stat(path).then(() => true, () => false)) return path;
  }
  return undefined;
}

/** Runs a program and returns what it printed; its own complaints become the error. */
async function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string } = {},
): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(program, [...args], {
      ...options,
      env: { ...process.env, LC_ALL: "C" },
      timeout: 300_000,
      maxBuffer: 16 * 1024 * 1024,
    });
    return stdout;
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    if (code === "ENOENT") throw new Error(`${program} is not on PATH`, { cause: error });
    const complaints = (stderr ?? "").trim().split("\n").slice(-5).join("\n");
    const command = `${program} ${args.filter((arg) => /^[a-z]/.test(arg)).join(" ")}`;
    throw new Error(`"${command}" failed: ${complaints || String(error)}`, { cause: error });
  }
}
