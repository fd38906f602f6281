// Upgradeable contracts by OpenZeppelin's plugin: transparent and UUPS proxies, and upgrades that it refuses.
import { upgrades as makeUpgrades } from '@openzeppelin/hardhat-upgrades';
import { expect } from 'chai';
import hre from 'hardhat';

const connection = await hre.network.create();
const { ethers } = connection;
const upgrades = await makeUpgrades(hre, connection);

/** The plugin asks every five seconds whether a deployment is in a block, unless told otherwise. */
const quick = () => ({ pollingInterval: 100 }); // a new one each time: the plugin writes into it
/** The plugin sends the upgrade and does not wait for it, which matters wherever a block takes its time. */
const mined = (upgraded) => upgraded.deployTransaction.wait();

describe('proxies', function () {
  it('transparent: state outlives the upgrade', async function () {
    const [admin] = await ethers.getSigners();
    const box = await upgrades.deployProxy(await ethers.getContractFactory('Box'), [42n], { ...quick(), kind: 'transparent', initialOwner: admin.address });
    await box.waitForDeployment();
    expect(await box.value()).to.equal(42n);
    const old = await upgrades.erc1967.getImplementationAddress(await box.getAddress());
    const upgraded = await upgrades.upgradeProxy(await box.getAddress(), await ethers.getContractFactory('BoxV2'), quick());
    await mined(upgraded);
    await (await upgraded.increment()).wait();
    expect(await upgraded.value()).to.equal(43n);
    expect(await upgrades.erc1967.getImplementationAddress(await box.getAddress())).to.not.equal(old);
    await expect(upgraded.initialize(1n)).to.be.revertedWithCustomError(upgraded, 'InvalidInitialization');
  });

  it('an upgrade that would mix up the storage is refused before anything is sent', async function () {
    const [admin] = await ethers.getSigners();
    const box = await upgrades.deployProxy(await ethers.getContractFactory('Box'), [1n], { ...quick(), kind: 'transparent', initialOwner: admin.address });
    await box.waitForDeployment();
    let refused;
    try {
      await upgrades.upgradeProxy(await box.getAddress(), await ethers.getContractFactory('BoxBroken'), quick());
    } catch (e) {
      refused = e.message;
    }
    expect(refused).to.match(/storage layout is incompatible/i);
  });

  it('UUPS: only the owner upgrades', async function () {
    const [owner, stranger] = await ethers.getSigners();
    const safe = await upgrades.deployProxy(await ethers.getContractFactory('Safe'), [owner.address], { ...quick(), kind: 'uups' });
    await safe.waitForDeployment();
    const next = await ethers.deployContract('SafeV2');
    await next.waitForDeployment();
    await expect(safe.connect(stranger).upgradeToAndCall(await next.getAddress(), '0x'))
      .to.be.revertedWithCustomError(safe, 'OwnableUnauthorizedAccount')
      .withArgs(stranger.address);
    const upgraded = await upgrades.upgradeProxy(await safe.getAddress(), await ethers.getContractFactory('SafeV2'), quick());
    await mined(upgraded);
    expect(await upgraded.version()).to.equal('2');
    expect(await upgraded.value()).to.equal(1n);
  });
});
