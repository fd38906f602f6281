//! The ten accounts that Foundry and Hardhat fund by default (mnemonic "test test … junk", path m/44'/60'/0'/0/i), and a
//! native account for the command line and the benchmark. Their keys are known to everyone: never use them elsewhere.

use basalt_primitives::{Address, SecretKey, U256, crypto::secp256k1};

/// Balance of each development account at genesis: 10,000 ether.
pub const BALANCE: U256 = U256::from_limbs([1_864_712_049_423_024_128, 542, 0, 0]);

/// One development account.
#[derive(Clone, Debug)]
pub struct DevAccount {
    /// Address.
    pub address: Address,
    /// secp256k1 key as hex, as wallets import it; or the Ed25519 seed of the native account.
    pub private_key: String,
    /// Which of the two kinds of key it is.
    pub native: bool,
}

const KEYS: [&str; 10] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    "dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
];

/// Seed of the native development account with this number.
#[must_use]
pub fn native_key(number: u32) -> SecretKey {
    let seed = basalt_primitives::HashFn::Sha256.hash(format!("basalt development account {number}").as_bytes());
    SecretKey::from_bytes(&seed.0)
}

/// How many native accounts a development network funds.
pub const NATIVE_ACCOUNTS: u32 = 10;

/// The ten Ethereum accounts with their keys.
pub fn ethereum_keys() -> impl Iterator<Item = (Address, ::secp256k1::SecretKey)> {
    KEYS.iter().map(|hex_key| {
        let mut bytes = [0u8; 32];
        hex::decode_to_slice(hex_key, &mut bytes).expect("constant");
        let secret = ::secp256k1::SecretKey::from_byte_array(bytes).expect("constant");
        (secp256k1::address_of(&secret.public_key(::secp256k1::SECP256K1)), secret)
    })
}

/// All funded accounts: ten Ethereum ones, then the native ones.
#[must_use]
pub fn accounts() -> Vec<DevAccount> {
    let ethereum = ethereum_keys().zip(KEYS).map(|((address, _), hex_key)| DevAccount {
        address,
        private_key: format!("0x{hex_key}"),
        native: false,
    });
    let native = (0..NATIVE_ACCOUNTS).map(|i| {
        let key = native_key(i);
        let private_key = format!("0x{}", hex::encode(key.to_bytes().as_slice()));
        DevAccount { address: key.public_key().address(), private_key, native: true }
    });
    ethereum.chain(native).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accounts_are_those_that_foundry_and_hardhat_print() {
        let all = accounts();
        let first: Address = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".parse().expect("address");
        let last: Address = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720".parse().expect("address");
        assert_eq!((all[0].address, all[9].address), (first, last));
        assert_eq!(BALANCE, U256::from(10_000) * U256::from(10).pow(U256::from(18)));
        assert_eq!(all.len(), 20);
    }
}
