// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// What of the validator contract is asked here.
interface IValidators {
    struct Member {
        bytes32 key;
        bytes32 name;
        address account;
        uint64 since;
    }

    function validators() external view returns (Member[] memory);
    function isMember(bytes32 key) external view returns (bool);
}

/// Who may join a private network and what accounts may do, changed by vote (docs/adr/0030-permission-contract.md). A network
/// that has this contract in its genesis is permissioned; every other is not.
///
/// In: proposals and approvals of the authority group: the validators, or accounts that hold the right to administer. Out:
/// nodes, organisations and rules of accounts, which every node reads straight from the storage below: block N is judged by
/// what stands after block N-1. The layout is fixed: `primitives/src/system/permission.rs` names the same slots, and a test
/// compares them with the compiler's answer. New variables go to the end.
///
/// A proposal is five words. Word `a` packs small numbers: bits 0-7 a role, rights or a status; 8-15 flags; 64-127 the last
/// height and 128-191 the last time (seconds since 1970) at which the entry holds; 0 means without end.
contract Permission {
    uint8 public constant SET_NODE = 1; // subject: key; a: role, end; b: organisation; c: validator key; d: name
    uint8 public constant REMOVE_NODE = 2; // subject: key
    uint8 public constant SET_ORGANISATION = 3; // subject: name; a: status, end
    uint8 public constant SET_ACCOUNT = 4; // subject: address; a: rights, flags, end; b: organisation
    uint8 public constant REMOVE_ACCOUNT = 5; // subject: address
    uint8 public constant SET_CALL = 6; // subject: account; a: 1 may, 0 may not; b: contract
    uint8 public constant SET_MODE = 7; // a: mode

    uint8 public constant VALIDATOR = 1;
    uint8 public constant FULL = 2;
    uint8 public constant OBSERVER = 3;
    uint8 public constant GATEWAY = 4;

    uint8 public constant ADMITTED = 1;
    uint8 public constant REMOVED = 2;

    uint8 public constant ACTIVE = 1;
    uint8 public constant SUSPENDED = 2;

    uint8 public constant DEPLOY = 1;
    uint8 public constant CALL = 2;
    uint8 public constant TRANSFER = 4;
    uint8 public constant ADMINISTER = 8;
    uint8 public constant LISTED = 1;
    uint8 public constant BLOCKED = 2;

    uint8 public constant OPEN_TO_ALL = 0; // accounts are not looked at
    uint8 public constant DENY_LIST = 1; // accounts that are not listed may do everything
    uint8 public constant ALLOW_LIST = 2; // accounts that are not listed may do nothing

    uint8 public constant OPEN = 1;
    uint8 public constant APPLIED = 2;
    uint8 public constant WITHDRAWN = 3;
    uint8 public constant EXPIRED = 4;
    uint8 public constant OVERTAKEN = 5; // approved, but meaningless by then

    uint256 public constant MAX_NODES = 2048;
    uint256 public constant MAX_ORGANISATIONS = 1024;
    uint256 public constant MAX_ADMINISTRATORS = 64;
    uint256 public constant MAX_CALLS = 64;
    uint256 public constant MAX_OPEN = 64;
    uint256 public constant MAX_OPEN_PER_PROPOSER = 16;

    IValidators private constant VALIDATORS = IValidators(0x000000000000000000000000000000000b450001);

    struct Node {
        uint8 role;
        uint8 status;
        uint64 since; // height of the last change
        uint64 untilHeight;
        uint64 untilTime;
        bytes32 organisation;
        bytes32 validator; // the consensus key it speaks for, if its role is validator
        bytes32 name;
    }

    struct Organisation {
        uint8 status;
        uint64 since;
        uint64 untilHeight;
        uint64 untilTime;
    }

    struct Rule {
        uint8 rights;
        uint8 flags;
        uint64 since;
        uint64 untilHeight;
        uint64 untilTime;
        bytes32 organisation;
    }

    struct Proposal {
        uint8 kind;
        uint8 status;
        uint64 opened;
        uint64 decided; // height at which it ended
        address proposer;
        bytes32 subject;
        uint256 a;
        bytes32 b;
        bytes32 c;
        bytes32 d;
        address[] approvers;
    }

    bytes32 public accountStamp; // slot 0: another after every change of accounts, organisations or the mode: readers cache by it
    bytes32 public nodeStamp; // slot 1: the same for nodes and organisations
    uint256 public authority; // slot 2: 0 the validators, 1 the administrators
    uint256 public percent; // slot 3: more than this part of the group decides; 0: a quorum as of the consensus
    uint256 public mode; // slot 4
    uint256 public lifetime; // slot 5: blocks after which an open proposal expires
    bytes32[] private nodeKeys; // slot 6
    mapping(bytes32 => Node) private nodes; // slot 7
    bytes32[] private organisationNames; // slot 8
    mapping(bytes32 => Organisation) private organisations; // slot 9
    address[] private accounts; // slot 10: all that were ever listed
    mapping(address => Rule) private rules; // slot 11
    mapping(address => address[]) private calls; // slot 12: contracts that an account may call beside its rights
    address[] private administrators; // slot 13
    uint256 public proposalCount; // slot 14; ids count from 1
    mapping(uint256 => Proposal) private proposals; // slot 15
    uint256[] private openIds; // slot 16: oldest first

    event Proposed(uint256 indexed id, address indexed proposer, uint8 kind, bytes32 indexed subject);
    event ApprovalGiven(uint256 indexed id, address indexed by, uint256 approvals, uint256 needed);
    event Applied(uint256 indexed id, uint8 kind, bytes32 indexed subject);
    event Withdrawn(uint256 indexed id);

    // --- Votes -----------------------------------------------------------------------------------------------------

    /// Proposes a change; counts as the proposer's approval, and is applied at once if that is enough.
    function propose(uint8 kind, bytes32 subject, uint256 a, bytes32 b, bytes32 c, bytes32 d) external returns (uint256 id) {
        address[] memory group = electorate();
        require(contains(group, msg.sender), notOfTheGroup());
        dropExpired();
        check(kind, subject, a, b, c);
        require(openIds.length < MAX_OPEN, "too many proposals are open; withdraw one or wait until one expires");
        requireFirst(kind, subject, a, b, c, d);
        id = ++proposalCount;
        Proposal storage p = proposals[id];
        (p.kind, p.status, p.opened, p.proposer) = (kind, OPEN, uint64(block.number), msg.sender);
        (p.subject, p.a, p.b, p.c, p.d) = (subject, a, b, c, d);
        p.approvers.push(msg.sender);
        openIds.push(id);
        emit Proposed(id, msg.sender, kind, subject);
        settle(p, id, group);
    }

    /// Approves a proposal. Calling it again is allowed where it completes the vote.
    function approve(uint256 id) external {
        address[] memory group = electorate();
        require(contains(group, msg.sender), notOfTheGroup());
        Proposal storage p = requireOpen(id);
        bool again = containsStored(p.approvers, msg.sender);
        if (!again) p.approvers.push(msg.sender);
        emit ApprovalGiven(id, msg.sender, approvals(p, group), needed(group.length));
        settle(p, id, group);
        require(!again || p.status != OPEN, "you have approved this proposal already");
    }

    /// Takes one's own open proposal back.
    function withdraw(uint256 id) external {
        Proposal storage p = requireOpen(id);
        require(p.proposer == msg.sender, "only its proposer can withdraw a proposal");
        end(p, id, WITHDRAWN);
        emit Withdrawn(id);
    }

    // --- Views -----------------------------------------------------------------------------------------------------

    /// The accounts that decide.
    function electorate() public view returns (address[] memory group) {
        if (authority == 1) return administrators;
        IValidators.Member[] memory members = VALIDATORS.validators();
        group = new address[](members.length);
        for (uint256 i = 0; i < members.length; i++) group[i] = members[i].account;
    }

    /// Votes of a group of `n` that decide.
    function needed(uint256 n) public view returns (uint256) {
        if (percent == 0) return (n + (n - 1) / 3) / 2 + 1;
        uint256 more = (n * percent) / 100 + 1;
        return more < n ? more : n;
    }

    /// A node's entry.
    function node(bytes32 key) external view returns (Node memory) {
        return nodes[key];
    }

    /// An account's rule.
    function rule(address account) external view returns (Rule memory) {
        return rules[account];
    }

    /// Contracts that an account may call, beside what its rights say.
    function callable(address account) external view returns (address[] memory) {
        return calls[account];
    }

    /// An organisation's entry.
    function organisation(bytes32 name) external view returns (Organisation memory) {
        return organisations[name];
    }

    /// One proposal, with how many approvals of the present group it has and needs. One past its time is shown as expired.
    function proposal(uint256 id) external view returns (Proposal memory p, uint256 approved, uint256 need) {
        require(id > 0 && id <= proposalCount, "there is no such proposal");
        p = proposals[id];
        if (p.status == OPEN && expired(proposals[id])) p.status = EXPIRED;
        address[] memory group = electorate();
        approved = approvals(proposals[id], group);
        need = needed(group.length);
    }

    // --- What may be proposed --------------------------------------------------------------------------------------

    function check(uint8 kind, bytes32 subject, uint256 a, bytes32 b, bytes32 c) private view {
        uint8 low = uint8(a);
        if (kind == SET_NODE) {
            require(subject != 0, "a node needs a key");
            require(low >= VALIDATOR && low <= GATEWAY, "a node's role is 1 validator, 2 full, 3 observer or 4 gateway");
            require((low == VALIDATOR) == (c != 0), "a node of the role validator names its validator key, and no other does");
            requireOrganisation(b);
            require(nodes[subject].status != 0 || nodeKeys.length < MAX_NODES, "the list of nodes is full: forget removed ones");
            requireFuture(a);
        } else if (kind == REMOVE_NODE) {
            require(nodes[subject].status != 0, "that key is not on the list of nodes");
        } else if (kind == SET_ORGANISATION) {
            require(subject != 0, "an organisation needs a name");
            require(low == ACTIVE || low == SUSPENDED, "an organisation is 1 active or 2 suspended");
            bool known = organisations[subject].status != 0;
            require(known || organisationNames.length < MAX_ORGANISATIONS, "the list of organisations is full");
            requireFuture(a);
        } else if (kind == SET_ACCOUNT) {
            requireAccount(subject);
            require(low < 16, "rights are 1 deploy, 2 call, 4 transfer, 8 administer, added up");
            require(uint8(a >> 8) == LISTED || uint8(a >> 8) == LISTED + BLOCKED, "flags are 1 listed or 3 listed and blocked");
            requireOrganisation(b);
            requireFuture(a);
            require(low & ADMINISTER == 0 || administers(a), "an administrator is not blocked and has no end");
            requireAdministrators(toAddress(subject), administers(a));
        } else if (kind == REMOVE_ACCOUNT) {
            requireAccount(subject);
            require(rules[toAddress(subject)].flags != 0, "that account is not listed");
            requireAdministrators(toAddress(subject), false);
        } else if (kind == SET_CALL) {
            requireAccount(subject);
            requireAccount(b);
            require(a < 2, "1 allows the call, 0 takes that back");
            bool has = containsStored(calls[toAddress(subject)], toAddress(b));
            require(has == (a == 0), "it stands so already");
            require(a == 0 || calls[toAddress(subject)].length < MAX_CALLS, "an account may be given 64 contracts by name");
        } else {
            require(kind == SET_MODE, "there is no such kind of proposal");
            require(subject == 0 && a <= ALLOW_LIST, "the mode is 0 open to all, 1 deny list or 2 allow list");
        }
    }

    function requireAccount(bytes32 word) private pure {
        require(word != 0 && uint256(word) >> 160 == 0, "that is no address");
    }

    function requireOrganisation(bytes32 name) private view {
        require(name == 0 || organisations[name].status != 0, "there is no such organisation; propose that first");
    }

    function requireFuture(uint256 a) private view {
        (uint64 height, uint64 time) = (uint64(a >> 64), uint64(a >> 128));
        require(height == 0 || height > block.number, "the last height has passed");
        require(time == 0 || time > block.timestamp, "the last time has passed");
    }

    /// Where administrators decide, one must be left.
    function requireAdministrators(address account, bool will) private view {
        bool is_ = containsStored(administrators, account);
        if (will && !is_) require(administrators.length < MAX_ADMINISTRATORS, "there are 64 administrators already");
        if (!will && is_) require(authority == 0 || administrators.length > 1, "the last administrator cannot be removed");
    }

    function requireFirst(uint8 kind, bytes32 subject, uint256 a, bytes32 b, bytes32 c, bytes32 d) private view {
        uint256 own = 0;
        for (uint256 i = 0; i < openIds.length; i++) {
            Proposal storage p = proposals[openIds[i]];
            if (p.proposer == msg.sender) own++;
            bool same = p.kind == kind && p.subject == subject && p.a == a && p.b == b && p.c == c && p.d == d;
            require(!same, "the same proposal is open already; approve that one");
        }
        require(own < MAX_OPEN_PER_PROPOSER, "you have too many open proposals; withdraw one");
    }

    // --- What a change does ----------------------------------------------------------------------------------------

    function settle(Proposal storage p, uint256 id, address[] memory group) private {
        if (approvals(p, group) < needed(group.length)) return;
        // What came first may have made this one meaningless; then nothing happens, and the record says so.
        try this.recheck(id) {
            end(p, id, APPLIED);
            carryOut(p);
            emit Applied(id, p.kind, p.subject);
        } catch {
            end(p, id, OVERTAKEN);
        }
    }

    /// Whether a proposal could be made now; reverts if not. Called by this contract.
    function recheck(uint256 id) external view {
        Proposal storage p = proposals[id];
        check(p.kind, p.subject, p.a, p.b, p.c);
    }

    function carryOut(Proposal storage p) private {
        // A digest of all changes, so that it names what it stands for on every branch of a chain.
        bytes32 change = keccak256(abi.encode(block.number, p.kind, p.subject, p.a, p.b, p.c, p.d));
        if (p.kind <= SET_ORGANISATION) nodeStamp = keccak256(abi.encode(nodeStamp, change));
        if (p.kind >= SET_ORGANISATION) accountStamp = keccak256(abi.encode(accountStamp, change));
        if (p.kind == SET_NODE) setNode(p);
        else if (p.kind == REMOVE_NODE) removeNode(p.subject);
        else if (p.kind == SET_ORGANISATION) setOrganisation(p.subject, p.a);
        else if (p.kind == SET_ACCOUNT) setAccount(toAddress(p.subject), p.a, p.b);
        else if (p.kind == REMOVE_ACCOUNT) setAccount(toAddress(p.subject), 0, 0);
        else if (p.kind == SET_CALL) setCall(calls[toAddress(p.subject)], toAddress(p.b), p.a == 1);
        else mode = p.a;
    }

    function setNode(Proposal storage p) private {
        if (nodes[p.subject].status == 0) nodeKeys.push(p.subject);
        nodes[p.subject] = Node(
            uint8(p.a), ADMITTED, uint64(block.number), uint64(p.a >> 64), uint64(p.a >> 128), p.b, p.c, p.d
        );
    }

    /// The entry stays, marked: a node that speaks for a validator of the present or next set stays connected until that has
    /// left the set. Removing it a second time forgets it.
    function removeNode(bytes32 key) private {
        Node storage n = nodes[key];
        if (n.status == ADMITTED) {
            n.status = REMOVED;
            n.since = uint64(block.number);
            return;
        }
        delete nodes[key];
        uint256 i = 0;
        while (nodeKeys[i] != key) i++;
        nodeKeys[i] = nodeKeys[nodeKeys.length - 1];
        nodeKeys.pop();
    }

    function setOrganisation(bytes32 name, uint256 a) private {
        if (organisations[name].status == 0) organisationNames.push(name);
        organisations[name] = Organisation(uint8(a), uint64(block.number), uint64(a >> 64), uint64(a >> 128));
    }

    function setAccount(address account, uint256 a, bytes32 b) private {
        if (rules[account].since == 0 && rules[account].flags == 0) accounts.push(account);
        rules[account] =
            Rule(uint8(a), uint8(a >> 8), uint64(block.number), uint64(a >> 64), uint64(a >> 128), b);
        bool is_ = containsStored(administrators, account);
        if (administers(a) != is_) setCall(administrators, account, !is_);
    }

    function setCall(address[] storage list, address item, bool wanted) private {
        if (wanted) {
            list.push(item);
            return;
        }
        uint256 i = 0;
        while (list[i] != item) i++;
        list[i] = list[list.length - 1];
        list.pop();
    }

    // --- Parts -----------------------------------------------------------------------------------------------------

    function notOfTheGroup() private view returns (string memory) {
        return authority == 1
            ? "only an administrator may do this; send it from an account that holds the right to administer"
            : "only a current validator may do this; send it from a validator's key";
    }

    /// Administrators have no end, so that the group cannot vanish by itself.
    function administers(uint256 a) private pure returns (bool) {
        return uint8(a) & ADMINISTER != 0 && uint8(a >> 8) == LISTED && a >> 64 == 0;
    }

    function approvals(Proposal storage p, address[] memory group) private view returns (uint256 count) {
        for (uint256 i = 0; i < p.approvers.length; i++) {
            if (contains(group, p.approvers[i])) count++;
        }
    }

    function end(Proposal storage p, uint256 id, uint8 status) private {
        p.status = status;
        p.decided = uint64(block.number);
        uint256 i = 0;
        while (openIds[i] != id) i++;
        for (; i + 1 < openIds.length; i++) openIds[i] = openIds[i + 1];
        openIds.pop();
    }

    function dropExpired() private {
        uint256 i = 0;
        while (i < openIds.length) {
            if (expired(proposals[openIds[i]])) end(proposals[openIds[i]], openIds[i], EXPIRED);
            else i++;
        }
    }

    function expired(Proposal storage p) private view returns (bool) {
        return block.number > p.opened + lifetime;
    }

    function requireOpen(uint256 id) private view returns (Proposal storage p) {
        require(id > 0 && id <= proposalCount, "there is no such proposal");
        p = proposals[id];
        require(p.status == OPEN, "that proposal is not open any more");
        require(!expired(p), "that proposal has expired; propose it again");
    }

    function toAddress(bytes32 word) private pure returns (address) {
        return address(uint160(uint256(word)));
    }

    function contains(address[] memory list, address item) private pure returns (bool) {
        for (uint256 i = 0; i < list.length; i++) {
            if (list[i] == item) return true;
        }
        return false;
    }

    function containsStored(address[] storage list, address item) private view returns (bool) {
        for (uint256 i = 0; i < list.length; i++) {
            if (list[i] == item) return true;
        }
        return false;
    }
}
