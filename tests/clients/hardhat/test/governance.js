// A proposal from its first vote to its execution.
import { expect } from 'chai';
import { network } from 'hardhat';

const { ethers } = await network.create();

/** Basalt makes a block for every transaction; this waits until there are so many. */
async function reach(signer, block) {
  while ((await ethers.provider.getBlockNumber()) < block) {
    await (await signer.sendTransaction({ to: signer.address, value: 0n })).wait();
  }
}

describe('Council (Governor)', function () {
  it('votes to mint, and the vote is carried out', async function () {
    const [admin, voter, other] = await ethers.getSigners();
    const coin = await ethers.deployContract('Coin', [admin.address]);
    await coin.waitForDeployment();
    const council = await ethers.deployContract('Council', [await coin.getAddress()]);
    await council.waitForDeployment();
    const MINTER = await coin.MINTER();
    await (await coin.grantRole(MINTER, admin.address)).wait();
    await (await coin.mint(voter.address, 100n)).wait();
    await (await coin.connect(voter).delegate(voter.address)).wait();
    await (await coin.grantRole(MINTER, await council.getAddress())).wait();

    const call = [[await coin.getAddress()], [0n], [coin.interface.encodeFunctionData('mint', [other.address, 5n])]];
    const proposed = await (await council.connect(voter).propose(...call, 'five for the other')).wait();
    const id = proposed.logs.map((l) => council.interface.parseLog(l)).find((l) => l?.name === 'ProposalCreated').args.proposalId;
    await reach(admin, Number(await council.proposalSnapshot(id)) + 1);
    await expect(council.connect(voter).castVote(id, 1n)).to.emit(council, 'VoteCast').withArgs(voter.address, id, 1n, 100n, '');
    await reach(admin, Number(await council.proposalDeadline(id)) + 1);
    expect(await council.state(id)).to.equal(4n);
    const before = await coin.balanceOf(other.address);
    await expect(council.execute(...call, ethers.id('five for the other'))).to.emit(council, 'ProposalExecuted').withArgs(id);
    expect(await coin.balanceOf(other.address)).to.equal(before + 5n);
  });
});
