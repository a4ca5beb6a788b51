// Writes machine.schema.json, or another file, from the schema that machines are checked with.
import { toJsonSchema } from '@valibot/to-json-schema';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { innerDriveSchema, machineSchema } from '../dist/control/machine/machine-schema.js';

const [file = fileURLToPath(new URL('../machine.schema.json', import.meta.url))] = process.argv.slice(2);

const schema = toJsonSchema(machineSchema, {
  // What users write, not what the check makes of it.
  typeMode: 'input',
  definitions: { drive: innerDriveSchema },
  // The only schema that looks at what it is given: a drive inside another, or the name of one.
  overrideSchema: ({ valibotSchema, jsonSchema }) =>
    valibotSchema.type === 'lazy' ? { anyOf: [{ type: 'string' }, jsonSchema] } : undefined,
});
writeFileSync(file, `${JSON.stringify(schema, null, 2)}\n`);
