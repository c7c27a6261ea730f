// An independent Ethereum (ethereumjs) as judge of the value chain: headers, transactions, receipts and tries.
// Usage: node ethereum.mjs <folder with node_modules>; one JSON question on stdin, one JSON answer on stdout; bytes are 0x-hex.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(`${process.argv[2]}/`);
const { createBlock, createBlockHeaderFromRLP } = require('@ethereumjs/block');
const { createCustomCommon, Hardfork, Mainnet } = require('@ethereumjs/common');
const { createMPT } = require('@ethereumjs/mpt');
const { RLP } = require('@ethereumjs/rlp');
const { createTxFromRLP } = require('@ethereumjs/tx');
const { createAccount, createAddressFromString, bytesToHex, hexToBytes } = require('@ethereumjs/util');
const { createVM, encodeReceipt, runTx } = require('@ethereumjs/vm');

const common = (chainId) => createCustomCommon({ chainId }, Mainnet, { hardfork: Hardfork.Prague });

function header({ rlp, chainId }) {
  const read = createBlockHeaderFromRLP(hexToBytes(rlp), { common: common(chainId), skipConsensusFormatValidation: true });
  return { hash: bytesToHex(read.hash()), rlp: bytesToHex(read.serialize()), nextBaseFee: String(read.calcNextBaseFee()), json: read.toJSON() };
}

async function trieRoot(items) {
  const trie = await createMPT();
  for (const [index, item] of items.entries()) await trie.put(RLP.encode(index), item);
  return bytesToHex(trie.root());
}

async function block({ chainId, number, gasLimit, baseFee, coinbase, balances, txs }) {
  const rules = common(chainId);
  const vm = await createVM({ common: rules });
  for (const [address, [nonce, balance]] of Object.entries(balances)) {
    const account = createAccount({ nonce: BigInt(nonce), balance: BigInt(balance) });
    await vm.stateManager.putAccount(createAddressFromString(address), account);
  }
  const header = { number, gasLimit: BigInt(gasLimit), baseFeePerGas: BigInt(baseFee), coinbase, timestamp: 1n };
  const around = createBlock({ header }, { common: rules, skipConsensusFormatValidation: true });
  const raw = txs.map(hexToBytes);
  const answer = { senders: [], hashes: [], receipts: [], gasUsed: [] };
  let used = 0n;
  for (const bytes of raw) {
    const tx = createTxFromRLP(bytes, { common: rules });
    const result = await runTx(vm, { tx, block: around, blockGasUsed: used, skipHardForkValidation: true });
    used += result.totalGasSpent;
    answer.senders.push(tx.getSenderAddress().toString());
    answer.hashes.push(bytesToHex(tx.hash()));
    answer.gasUsed.push(String(result.totalGasSpent));
    answer.receipts.push(bytesToHex(encodeReceipt(result.receipt, tx.type)));
  }
  answer.transactionsRoot = await trieRoot(raw);
  answer.receiptsRoot = await trieRoot(answer.receipts.map(hexToBytes));
  answer.balances = {};
  for (const address of Object.keys(balances)) {
    const account = await vm.stateManager.getAccount(createAddressFromString(address));
    answer.balances[address] = [String(account?.nonce ?? 0), String(account?.balance ?? 0)];
  }
  return answer;
}

const question = JSON.parse(readFileSync(0, 'utf8'));
const answer = { headers: question.headers.map(header), blocks: [] };
for (const one of question.blocks) answer.blocks.push(await block(one));
console.log(JSON.stringify(answer));
