#!/usr/bin/env node
// Stands in the repository, so that a package manager finds it to link before anything is built.
import '../dist/cli/main.js';
