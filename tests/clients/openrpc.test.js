// The OpenRPC document of a running node, and every method in it called for real: each answer and each error is held
// against the document and against Ethereum's public specification, and the values against anvil's where both can answer.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import metaSchema from '@open-rpc/meta-schema';
import { Ajv } from 'ajv';
import { own, ownErrors } from './openrpc/own.js';
import { errors, publicCalls } from './openrpc/public.js';
import { scenario } from './openrpc/scenario.js';
import { startAnvil } from './openrpc/anvil.js';
import { raw, urls } from './support.js';

const folder = process.env.BASALT_FIXTURES ?? fileURLToPath(new URL('../../../shared/fixtures', import.meta.url));
const fixture = `${folder}/execution-apis.openrpc.json`;
const specification = existsSync(fixture) ? JSON.parse(readFileSync(fixture, 'utf8')) : undefined;
const noFixture = specification ? false : `no ${fixture}; it is made of github.com/ethereum/execution-apis`;

/** Validators of the results of a document's methods. */
class Document {
  constructor(name, document) {
    this.methods = new Map(document.methods.map((m, index) => [m.name, { ...m, index }]));
    this.ajv = new Ajv({ strict: false, allErrors: false, validateSchema: false });
    this.ajv.addSchema({ ...document, $id: name }, name);
    this.name = name;
    this.components = document.components;
  }

  /** Why a result is not as described; undefined if it is. */
  fault(method, result) {
    const { index } = this.methods.get(method);
    const validate = this.ajv.compile({ $ref: `${this.name}#/methods/${index}/result/schema` });
    return validate(result) ? undefined : this.ajv.errorsText(validate.errors).slice(0, 600);
  }

  /** The codes that a method's errors may have. */
  codes(method) {
    const given = this.methods.get(method).errors ?? [];
    return given.map((e) => (e.$ref ? this.components.errors[e.$ref.split('/').pop()] : e).code);
  }
}

describe('every method of the OpenRPC document', () => {
  let served;
  let ethereum;
  let basalt;
  let anvil;
  const called = new Map();

  before(async () => {
    const { result } = await raw(urls[0], { method: 'rpc_discover' });
    served = new Document('served', result);
    if (specification) {
      // An empty list is one of hashes as well as one of logs.
      const { FilterResults, Block } = specification.components.schemas;
      // Of a pending block they are null, as clients expect it of go-ethereum.
      for (const field of ['hash', 'nonce']) Block.properties[field] = { anyOf: [{ type: 'null' }, Block.properties[field]] };
      specification.components.schemas.FilterResults = { anyOf: FilterResults.oneOf };
      ethereum = new Document('ethereum', specification);
    }
    anvil = await startAnvil();
    const key = `openrpc ${Date.now()}`;
    basalt = await scenario(urls[0], key);
    if (anvil) anvil.chain = await scenario(anvil.url, key);
  });
  after(() => anvil?.stop());

  /** Calls, and checks the form of the answer. */
  async function ask(method, params, mayBeNull) {
    const what = `${method} ${JSON.stringify(params)?.slice(0, 200)}`;
    const body = params === undefined ? { method } : { method, params };
    const answer = await raw(urls[0], body);
    called.set(method, (called.get(method) ?? 0) + 1);
    assert.equal(answer.error, undefined, `${what}: ${JSON.stringify(answer.error)}`);
    if (!mayBeNull) assert.notEqual(answer.result, null, `${what} is null`);
    assert.equal(served.fault(method, answer.result), undefined, `${what}: ${JSON.stringify(answer.result).slice(0, 400)}`);
    // Native transactions are of a type that the specification does not know; there are none in these blocks.
    if (ethereum?.methods.has(method)) assert.equal(ethereum.fault(method, answer.result), undefined, `${what}, by the specification`);
    return answer.result;
  }

  test('the document is OpenRPC', async () => {
    const { result } = await raw(urls[0], { method: 'rpc_discover' });
    const ajv = new Ajv({ strict: false, validateSchema: false, validateFormats: false });
    // Its schema of JSON Schema itself is elsewhere; ajv has compiled ours.
    const local = (_, v) => (String(v?.$ref).startsWith('https://meta.json-schema.tools') ? {} : v);
    const validate = ajv.compile(JSON.parse(JSON.stringify(metaSchema.default), local));
    assert.ok(validate(result), ajv.errorsText(validate.errors));
  });

  test("Ethereum's: answers as specified, values as anvil's", { skip: noFixture }, async () => {
    const faults = [];
    const check = async (method, { params, same, compare, mayBeNull }) => {
      const answer = await ask(method, await params(basalt), mayBeNull);
      if (!(same ?? compare) || !anvil) return;
      const given = await params(anvil.chain);
      // anvil takes parameters by place alone.
      const body = given === undefined || Array.isArray(given) ? { method, params: given ?? [] } : { method, params: Object.values(given) };
      const theirs = await raw(anvil.url, body);
      const what = `${method} ${JSON.stringify(given)?.slice(0, 200)}: anvil says ${JSON.stringify(theirs).slice(0, 400)}`;
      assert.equal(theirs.error, undefined, what);
      if (compare) assert.ok(compare(answer, theirs.result), `${what}, we say ${JSON.stringify(answer)}`);
      else assert.deepEqual(same(answer), same(theirs.result), what);
    };
    for (const [method, calls] of Object.entries(publicCalls)) {
      for (const call of calls) await check(method, call).catch((e) => faults.push(e.message));
    }
    assert.deepEqual(faults, []);
    for (const name of specification.methods.map((m) => m.name).filter((n) => served.methods.has(n))) {
      assert.ok((called.get(name) ?? 0) >= 3, `${name} is called ${called.get(name) ?? 0} times here; at least three are wanted`);
    }
  });

  test("Basalt's own: answers as described", async () => {
    for (const [method, calls] of Object.entries(own)) {
      for (const { params, mayBeNull } of calls) await ask(method, await params(basalt), mayBeNull);
    }
    // Not on a chain of this kind: they are called below.
    const elsewhere = new Set(ownErrors.filter(([, , , words]) => /proof of work/.test(words.source)).map(([method]) => method));
    // A WebSocket has the others; ethers and viem use them.
    const left = [...served.methods.keys()].filter((m) => !called.has(m) && !elsewhere.has(m) && !/_(un)?subscribe$/.test(m));
    assert.deepEqual(left, [], 'methods that nothing here calls');
  });

  test('errors have the codes that the document gives, and say what to do', async () => {
    for (const [method, params, code, words] of [...errors(basalt), ...ownErrors]) {
      const { error, result } = await raw(urls[0], { method, params });
      const what = `${method} ${JSON.stringify(params)?.slice(0, 200)}`;
      assert.ok(error, `${what}: ${JSON.stringify(result)?.slice(0, 200)} is no error`);
      assert.equal(error.code, code, `${what}: ${error.message}`);
      assert.match(error.message, words, what);
      if (served.methods.has(method)) assert.ok(served.codes(method).includes(code), `${what}: ${code} is not in the document`);
    }
    // Nonsense in every place of every method: an error of the standard, or an answer as described.
    for (const [method, { params }] of served.methods) {
      for (const nonsense of [{ nothing: [] }, 'nonsense', -1, [[]]]) {
        for (let place = 0; place < params.length; place++) {
          const given = params.map((_, i) => (i === place ? nonsense : null));
          const answer = await raw(urls[0], { method, params: given });
          const what = `${method} ${JSON.stringify(given)}: ${JSON.stringify(answer).slice(0, 300)}`;
          if (answer.error) assert.ok(served.codes(method).includes(answer.error.code), what);
          else assert.equal(served.fault(method, answer.result), undefined, what);
          assert.notEqual(answer.error?.code, -32603, what);
        }
      }
    }
  });
});
