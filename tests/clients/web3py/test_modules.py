"""web3.py's own reusable tests, over HTTP, over HTTP with asyncio, and over a WebSocket."""

import pytest
from web3._utils.module_testing import AsyncEthModuleTest, AsyncNetModuleTest, EthModuleTest, NetModuleTest, Web3ModuleTest
from web3._utils.module_testing.persistent_connection_provider import PersistentConnectionProviderTest
from web3._utils.module_testing.utils import RequestMocker
from web3._utils.module_testing.web3_module import AsyncWeb3ModuleTest


@pytest.fixture
def request_mocker():
    return RequestMocker


class TestEth(EthModuleTest):
    pass


class TestNet(NetModuleTest):
    pass


class TestWeb3(Web3ModuleTest):
    def _check_web3_client_version(self, client_version):
        assert client_version.startswith("basalt/")


class TestAsyncEth(AsyncEthModuleTest):
    pass


class TestAsyncNet(AsyncNetModuleTest):
    pass


class TestAsyncWeb3(AsyncWeb3ModuleTest):
    def _check_web3_client_version(self, client_version):
        assert client_version.startswith("basalt/")


class TestWebSocket(PersistentConnectionProviderTest):
    pass
