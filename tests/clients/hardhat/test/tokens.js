// Tokens of OpenZeppelin 5, with the matchers that Hardhat's users have.
import { expect } from 'chai';
import { network } from 'hardhat';

const { ethers } = await network.create();

describe('Coin (ERC-20, AccessControl, EIP-2612)', function () {
  let admin, minter, holder, spender, coin;

  before(async function () {
    [admin, minter, holder, spender] = await ethers.getSigners();
    coin = await ethers.deployContract('Coin', [admin.address]);
    await coin.waitForDeployment();
  });

  it('lets only who has the role mint', async function () {
    const MINTER = await coin.MINTER();
    await expect(coin.connect(minter).mint(holder.address, 1n))
      .to.be.revertedWithCustomError(coin, 'AccessControlUnauthorizedAccount')
      .withArgs(minter.address, MINTER);
    await expect(coin.grantRole(MINTER, minter.address)).to.emit(coin, 'RoleGranted').withArgs(MINTER, minter.address, admin.address);
    await expect(coin.connect(minter).mint(holder.address, 1000n))
      .to.emit(coin, 'Transfer')
      .withArgs(ethers.ZeroAddress, holder.address, 1000n);
    expect(await coin.totalSupply()).to.equal(1000n);
  });

  it('moves balances', async function () {
    await expect(coin.connect(holder).transfer(spender.address, 10n)).to.changeTokenBalances(ethers, coin, [holder, spender], [-10n, 10n]);
    await expect(coin.connect(spender).transfer(holder.address, 11n))
      .to.be.revertedWithCustomError(coin, 'ERC20InsufficientBalance')
      .withArgs(spender.address, 10n, 11n);
  });

  it('takes a signed permit', async function () {
    const { chainId } = await ethers.provider.getNetwork();
    const domain = { name: 'Coin', version: '1', chainId, verifyingContract: await coin.getAddress() };
    const fields = ['owner:address', 'spender:address', 'value:uint256', 'nonce:uint256', 'deadline:uint256'];
    const types = { Permit: fields.map((f) => ({ name: f.split(':')[0], type: f.split(':')[1] })) };
    const deadline = (await ethers.provider.getBlock('latest')).timestamp + 3600;
    const permit = { owner: holder.address, spender: spender.address, value: 77n, nonce: 0n, deadline };
    const { v, r, s } = ethers.Signature.from(await holder.signTypedData(domain, types, permit));
    await (await coin.connect(spender).permit(holder.address, spender.address, 77n, deadline, v, r, s)).wait();
    expect(await coin.allowance(holder.address, spender.address)).to.equal(77n);
    await expect(coin.connect(spender).transferFrom(holder.address, spender.address, 77n)).to.emit(coin, 'Transfer');
  });
});

describe('Deed (ERC-721)', function () {
  it('is minted, moved and refused to strangers', async function () {
    const [, owner, other] = await ethers.getSigners();
    const deed = await ethers.deployContract('Deed');
    await deed.waitForDeployment();
    await expect(deed.mint(owner.address, 'ipfs://deed/0')).to.emit(deed, 'Transfer').withArgs(ethers.ZeroAddress, owner.address, 0n);
    expect(await deed.tokenURI(0n)).to.equal('ipfs://deed/0');
    await expect(deed.connect(other).transferFrom(owner.address, other.address, 0n))
      .to.be.revertedWithCustomError(deed, 'ERC721InsufficientApproval')
      .withArgs(other.address, 0n);
    await (await deed.connect(owner)['safeTransferFrom(address,address,uint256)'](owner.address, other.address, 0n)).wait();
    expect(await deed.ownerOf(0n)).to.equal(other.address);
    await expect(deed.mint(await deed.getAddress(), '')).to.be.revertedWithCustomError(deed, 'ERC721InvalidReceiver');
  });
});

describe('Goods (ERC-1155)', function () {
  it('moves many kinds at once', async function () {
    const [first, second] = await ethers.getSigners();
    const goods = await ethers.deployContract('Goods');
    await goods.waitForDeployment();
    await expect(goods.safeBatchTransferFrom(first.address, second.address, [1n, 2n], [10n, 5n], '0x'))
      .to.emit(goods, 'TransferBatch')
      .withArgs(first.address, first.address, second.address, [1n, 2n], [10n, 5n]);
    expect(await goods.balanceOfBatch([first.address, second.address], [1n, 2n])).to.deep.equal([90n, 5n]);
    await expect(goods.connect(second).safeTransferFrom(first.address, second.address, 1n, 1n, '0x'))
      .to.be.revertedWithCustomError(goods, 'ERC1155MissingApprovalForAll');
  });
});
