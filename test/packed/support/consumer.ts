import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pack } from './pack.js';
import type { PublishedPackage } from './published-packages.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const FIXTURES = fileURLToPath(new URL('../fixtures/', import.meta.url));
/** Against hangs only. */
const TIMEOUT_MS = 120_000;

/** How a project is compiled. */
export interface CompilerSettings {
  /** Where the compiler is, below the workspace's root. */
  readonly compiler: string;
  readonly module: 'node16' | 'esnext' | 'preserve';
  readonly moduleResolution: 'node16' | 'bundler';
  readonly types: readonly string[];
}

/** A project that is none of the workspace's, with the packages installed from their tarballs. */
export class Consumer {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'iothreads-consumer-'));

  /** Packs the packages, and installs them as any user does. */
  install(packages: readonly PublishedPackage[]): void {
    const tarballs = pack(packages, this.directory);
    const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      devDependencies: Readonly<Record<string, string>>;
    };
    this.write('package.json', JSON.stringify({ private: true, type: 'module' }));
    const wanted = [...tarballs.values(), `@types/node@${devDependencies['@types/node']}`];
    // An `npm run` around it would say where to install otherwise.
    const options = ['--prefix', this.directory, '--prefer-offline', '--no-audit', '--no-fund'];
    this.#run('npm', ['install', ...options, ...wanted]);
  }

  /** @returns the file's path */
  write(name: string, content: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, content);
    return path;
  }

  /** Takes a file of `test/packed/fixtures`. */
  copy(name: string): void {
    copyFileSync(join(FIXTURES, name), join(this.directory, name));
  }

  /**
   * Compiles files strictly, the declarations that they import included, into the folder `into`.
   * @throws Error with what the compiler said
   */
  compile(files: readonly string[], settings: CompilerSettings, into: string): void {
    const { compiler, ...options } = settings;
    const compilerOptions = {
      ...options,
      target: 'es2022',
      lib: ['es2022'],
      strict: true,
      skipLibCheck: false,
      rootDir: '.',
      outDir: into,
    };
    const project = this.write(`tsconfig.${into}.json`, JSON.stringify({ compilerOptions, files }));
    this.run(process.execPath, join(ROOT, compiler, 'bin/tsc'), '--project', project);
  }

  /** Runs Node.js in the project. @returns what it prints on stdout. @throws Error with all that it printed */
  run(node: string, ...args: readonly string[]): string {
    // What `npx` and the like find is the same Node.js.
    return this.#run(node, args, { PATH: `${dirname(node)}:${process.env['PATH']}` });
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #run(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): string {
    try {
      return execFileSync(command, args, {
        cwd: this.directory,
        encoding: 'utf8',
        stdio: 'pipe',
        timeout: TIMEOUT_MS,
        env: { ...process.env, ...env },
      });
    } catch (error) {
      const { message, stdout, stderr } = error as { message: string; stdout: string; stderr: string };
      throw new Error(`${message}\n${stdout}${stderr}`, { cause: error });
    }
  }
}
