// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// The validator set of a chain, changed by vote of the validators themselves (docs/adr/0014-validator-contract.md).
///
/// In: calls of validators (proposals, approvals, readiness), of anyone who holds proof of equivocation, and the system call
/// `applyChange` that the executor makes at the start of a block while `pending` is not zero. Out: the set, which every node
/// reads straight from the storage below. The layout is fixed: `primitives/src/system/validators.rs` names the same slots,
/// and a test compares them with the compiler's answer. New variables go to the end.
contract Validators {
    uint8 public constant ADD = 1;
    uint8 public constant REMOVE = 2;
    uint8 public constant REPLACE = 3;
    /// A member that went by a set override, not by vote (docs/adr/0015-set-override.md); in the log of changes only.
    uint8 public constant OVERRIDE = 4;

    uint8 public constant OPEN = 1;
    uint8 public constant APPROVED = 2;
    uint8 public constant APPLIED = 3;
    uint8 public constant REFUSED = 4;
    uint8 public constant WITHDRAWN = 5;
    uint8 public constant EXPIRED = 6;

    /// Why an approved change was refused; `have` and `need` of the proposal go with it.
    uint8 public constant NOT_READY = 1;
    uint8 public constant NO_QUORUM = 2;
    uint8 public constant SET_CHANGED = 3;

    uint256 public constant MAX_VALIDATORS = 256;
    uint256 public constant MAX_OPEN = 32;
    uint256 public constant MAX_OPEN_PER_PROPOSER = 4;
    uint256 public constant MAX_EVIDENCE_PER_KEY = 16;
    /// A `ready` counts for this many blocks, and must name a block no older than this.
    uint256 public constant READY_BLOCKS = 256;

    address private constant SYSTEM = 0xffffFFFfFFffffffffffffffFfFFFfffFFFfFFfE;
    address private constant ED25519 = 0x000000000000000000000000000000000B450101;

    struct Member {
        bytes32 key;
        bytes32 name;
        address account;
        uint64 since; // first height at which it votes
    }

    struct Change {
        uint64 validFrom; // first height of the set that this change leads to
        uint8 kind;
        uint16 index; // in the set before the change
        uint64 proposal;
        bytes32 key; // the key that came; of a removal: the one that went
        bytes32 name;
    }

    struct Proposal {
        uint8 kind;
        uint8 status;
        uint8 reason;
        uint16 have;
        uint16 need;
        uint64 opened;
        uint64 decided; // height at which it ended
        uint64 validFrom; // if applied
        address proposer;
        bytes32 oldKey;
        bytes32 newKey;
        bytes32 name;
        address[] approvers;
    }

    struct Evidence {
        bytes32 key;
        uint64 height;
        uint32 round;
        uint8 kind; // 1 proposal, 2 prepare, 3 commit
        uint64 reportedAt;
        bytes32 first; // the two block hashes it signed
        bytes32 second;
    }

    uint256 public pending; // slot 0: approved changes that wait for the next block; the executor reads it
    bytes32 public genesisHash; // slot 1: written by the executor in block 1
    uint256 public lifetime; // slot 2: blocks after which an open proposal expires
    Member[] private members; // slot 3
    Change[] private changes; // slot 4
    mapping(address => uint256) private indexPlusOne; // slot 5
    uint256 public proposalCount; // slot 6; ids count from 1
    mapping(uint256 => Proposal) private proposals; // slot 7
    uint256[] private openIds; // slot 8: open and approved, oldest first
    mapping(address => uint256) public readyAt; // slot 9: newest block named by `ready`
    Evidence[] private evidence; // slot 10
    mapping(bytes32 => bool) private evidenceSeen; // slot 11
    mapping(bytes32 => uint256) private evidenceOf; // slot 12
    mapping(bytes32 => bool) private former; // slot 13: keys that were validators once and are not any more

    event Proposed(uint256 indexed id, address indexed proposer, uint8 kind, bytes32 oldKey, bytes32 newKey, bytes32 name);
    event ApprovalGiven(uint256 indexed id, address indexed by, uint256 approvals, uint256 quorum);
    event ChangeApproved(uint256 indexed id);
    event Withdrawn(uint256 indexed id);
    event Ready(address indexed account, uint256 height);
    event Equivocation(bytes32 indexed key, uint64 indexed height, uint32 round, uint8 kind);

    modifier onlyValidator() {
        require(indexPlusOne[msg.sender] != 0, "only a current validator may do this; send it from a validator's key");
        _;
    }

    // --- Votes -----------------------------------------------------------------------------------------------------

    /// Proposes to add `newKey` under `name`. Counts as the proposer's approval, and never completes the vote: the newcomer
    /// must be able to show that it is ready first.
    function proposeAdd(bytes32 newKey, bytes32 name) external onlyValidator returns (uint256 id) {
        requireNew(newKey);
        require(members.length < MAX_VALIDATORS, "the set is full: it has 256 validators");
        id = open(ADD, 0, newKey, name);
    }

    /// Proposes to remove `oldKey`. Counts as the proposer's approval.
    function proposeRemove(bytes32 oldKey) external onlyValidator returns (uint256 id) {
        requireMember(oldKey);
        require(members.length > 1, "the last validator cannot be removed");
        id = open(REMOVE, oldKey, 0, 0);
        settle(id);
    }

    /// Proposes that `newKey` takes the place, and the name, of `oldKey`. Counts as the proposer's approval.
    function proposeReplace(bytes32 oldKey, bytes32 newKey) external onlyValidator returns (uint256 id) {
        uint256 index = requireMember(oldKey);
        requireNew(newKey);
        id = open(REPLACE, oldKey, newKey, members[index].name);
    }

    /// Approves a proposal. Calling it again is allowed where it completes the vote.
    function approve(uint256 id) external onlyValidator {
        Proposal storage p = requireOpen(id);
        bool again = contains(p.approvers, msg.sender);
        if (!again) p.approvers.push(msg.sender);
        emit ApprovalGiven(id, msg.sender, approvals(p), quorum(members.length));
        settle(id);
        require(!again || p.status == APPROVED, "you have approved this proposal already");
    }

    /// Takes one's own open proposal back.
    function withdraw(uint256 id) external {
        Proposal storage p = requireOpen(id);
        require(p.proposer == msg.sender, "only its proposer can withdraw a proposal");
        end(p, id, WITHDRAWN);
        emit Withdrawn(id);
    }

    /// Says that the sender's node is synced: it knows the hash of a recent block. Counts for the newcomer of an open
    /// proposal, and for validators while a proposal is open.
    function ready(uint256 height, bytes32 blockHash) external {
        bool member = indexPlusOne[msg.sender] != 0 && openIds.length > 0;
        uint256 count = openIds.length;
        bool counts = member;
        for (uint256 i = 0; i < count; i++) {
            if (isNewcomer(proposals[openIds[i]], msg.sender)) counts = true;
        }
        require(counts, "no open proposal concerns this key");
        require(height < block.number && height + READY_BLOCKS >= block.number, "that block is not recent");
        require(blockhash(height) == blockHash, "that is not the hash of this chain's block");
        if (height > readyAt[msg.sender]) readyAt[msg.sender] = height;
        emit Ready(msg.sender, height);
        for (uint256 i = 0; i < count; i++) {
            Proposal storage p = proposals[openIds[i]];
            if (p.status == OPEN && !expired(p) && isNewcomer(p, msg.sender)) settle(openIds[i]);
        }
    }

    // --- Evidence --------------------------------------------------------------------------------------------------

    /// Records that a validator signed two different blocks in one step. Anyone may bring it: it proves itself.
    function reportEquivocation(
        uint8 kind,
        bytes32 key,
        uint64 height,
        uint32 round,
        bytes32[2] calldata blocks,
        bytes32[4] calldata signatures
    ) external {
        require(kind >= 1 && kind <= 3, "the kind is 1 for a proposal, 2 for a prepare vote, 3 for a commit vote");
        require(former[key] || isMember(key), "that key is not and was never a validator");
        require(blocks[0] != blocks[1], "both messages are for the same block, which is no offence");
        bytes32 digest = keccak256(abi.encode(kind, key, height, round));
        require(!evidenceSeen[digest], "this offence is on record already");
        require(evidenceOf[key] < MAX_EVIDENCE_PER_KEY, "enough offences of this key are on record");
        for (uint256 i = 0; i < 2; i++) {
            bytes memory signed = signedBytes(kind, height, round, blocks[i]);
            require(
                verifies(key, signatures[2 * i], signatures[2 * i + 1], signed), "a signature does not verify"
            );
        }
        evidenceSeen[digest] = true;
        evidenceOf[key] += 1;
        evidence.push(Evidence(key, height, round, kind, uint64(block.number), blocks[0], blocks[1]));
        emit Equivocation(key, height, round, kind);
    }

    /// What a validator signs: `vote_bytes` of `primitives`, and the proposal's layout of `consensus/bft`.
    function signedBytes(uint8 kind, uint64 height, uint32 round, bytes32 blockHash) private view returns (bytes memory) {
        if (kind == 1) {
            return abi.encodePacked(uint32(18), "basalt/proposal/v1", genesisHash, height, round, blockHash);
        }
        return abi.encodePacked(uint32(14), "basalt/vote/v1", genesisHash, kind, height, round, blockHash);
    }

    function verifies(bytes32 key, bytes32 r, bytes32 s, bytes memory signed) private view returns (bool) {
        (bool ok, bytes memory answer) = ED25519.staticcall(abi.encodePacked(key, r, s, signed));
        return ok && answer.length == 32;
    }

    // --- The system call -------------------------------------------------------------------------------------------

    /// Applies or refuses the oldest approved change; one a block, so that its cost is bounded. Bit i of `signed` says that
    /// member i has signed one of the last certificates. Never reverts for the executor: a vote must not stop the chain.
    function applyChange(uint256 signed) external {
        require(msg.sender == SYSTEM, "only the executor calls this");
        for (uint256 i = 0; i < openIds.length; i++) {
            uint256 id = openIds[i];
            if (proposals[id].status == APPROVED) {
                pending -= 1;
                return decide(proposals[id], id, signed);
            }
        }
        pending = 0;
    }

    /// Removes members that a set override has declared lost: more are gone for good than a vote could do without. Keys that
    /// are no members are passed over; the others keep their order. One pass, so that the cost of a call is bounded.
    function removeLost(bytes32[] calldata keys) external {
        require(msg.sender == SYSTEM, "only the executor calls this");
        for (uint256 i = 0; i < keys.length; i++) {
            uint256 index = indexOf(keys[i]);
            if (index < members.length) delete indexPlusOne[members[index].account];
        }
        uint256 kept = 0;
        for (uint256 i = 0; i < members.length; i++) {
            Member storage m = members[i];
            if (indexPlusOne[m.account] == 0) {
                former[m.key] = true;
                changes.push(Change(uint64(block.number + 2), OVERRIDE, uint16(kept), 0, m.key, m.name));
                continue;
            }
            if (kept != i) members[kept] = m;
            indexPlusOne[m.account] = ++kept;
        }
        require(kept > 0, "the last validator cannot be removed");
        while (members.length > kept) members.pop();
    }

    function decide(Proposal storage p, uint256 id, uint256 signed) private {
        uint256 n = members.length;
        bool removal = p.kind == REMOVE;
        uint256 index = p.kind == ADD ? n : indexOf(p.oldKey);
        // A change that came first may have made this one meaningless.
        bool stale = p.kind == ADD ? n == MAX_VALIDATORS : index == n || (removal && n == 1);
        if (stale || (!removal && isMember(p.newKey))) return refuse(p, id, SET_CHANGED, 0, 0);
        address account = removal ? members[index].account : accountOf(p.newKey);
        if (!removal && !isReady(account)) return refuse(p, id, NOT_READY, 0, 1);
        uint256 have = removal ? 0 : 1;
        for (uint256 i = 0; i < n; i++) {
            if (i != index && ((signed >> i) & 1 == 1 || isReady(members[i].account))) have++;
        }
        uint256 need = quorum(p.kind == ADD ? n + 1 : removal ? n - 1 : n);
        if (have < need) return refuse(p, id, NO_QUORUM, have, need);
        carryOut(p, id, index, account);
    }

    function carryOut(Proposal storage p, uint256 id, uint256 index, address account) private {
        uint64 from = uint64(block.number + 2);
        if (p.kind != ADD) {
            delete indexPlusOne[members[index].account];
            former[p.oldKey] = true;
        }
        if (p.kind == REMOVE) {
            removeMember(index);
        } else {
            if (p.kind == ADD) members.push();
            members[index] = Member(p.newKey, p.name, account, from);
            indexPlusOne[account] = index + 1;
            former[p.newKey] = false;
        }
        changes.push(Change(from, p.kind, uint16(index), uint64(id), p.kind == REMOVE ? p.oldKey : p.newKey, p.name));
        p.validFrom = from;
        end(p, id, APPLIED);
    }

    /// The others keep their order.
    function removeMember(uint256 index) private {
        uint256 last = members.length - 1;
        for (uint256 i = index; i < last; i++) {
            members[i] = members[i + 1];
            indexPlusOne[members[i].account] = i + 1;
        }
        members.pop();
    }

    function refuse(Proposal storage p, uint256 id, uint8 reason, uint256 have, uint256 need) private {
        p.reason = reason;
        p.have = uint16(have);
        p.need = uint16(need);
        end(p, id, REFUSED);
    }

    // --- Views -----------------------------------------------------------------------------------------------------

    /// The set as it will be from two blocks after the newest on.
    function validators() external view returns (Member[] memory) {
        return members;
    }

    /// Every change since genesis, oldest first.
    function changeLog() external view returns (Change[] memory) {
        return changes;
    }

    /// Ids of the proposals that are open or approved.
    function openProposals() external view returns (uint256[] memory) {
        return openIds;
    }

    /// One proposal: what it says, who has approved, how many approvals of current validators it has and needs, and whether
    /// its newcomer is ready. A proposal past its time is shown as expired.
    function proposal(uint256 id)
        external
        view
        returns (Proposal memory p, uint256 approved, uint256 needed, bool newcomerReady)
    {
        require(id > 0 && id <= proposalCount, "there is no such proposal");
        p = proposals[id];
        if (p.status == OPEN && expired(proposals[id])) p.status = EXPIRED;
        approved = approvals(proposals[id]);
        needed = quorum(members.length);
        newcomerReady = p.newKey != 0 && isReady(accountOf(p.newKey));
    }

    /// All evidence on record.
    function allEvidence() external view returns (Evidence[] memory) {
        return evidence;
    }

    /// Whether an account has shown lately that it is synced.
    function isReady(address account) public view returns (bool) {
        return readyAt[account] != 0 && readyAt[account] + READY_BLOCKS >= block.number;
    }

    /// Whether a key is in the newest set.
    function isMember(bytes32 key) public view returns (bool) {
        return indexOf(key) < members.length;
    }

    /// The native account of a validator key: `PublicKey::address` of `primitives`.
    function accountOf(bytes32 key) public pure returns (address) {
        return address(uint160(uint256(sha256(abi.encodePacked("basalt/address/ed25519/v1", key)))));
    }

    /// Votes of `n` validators that decide: floor((n + f) / 2) + 1 with f = floor((n - 1) / 3).
    function quorum(uint256 n) public pure returns (uint256) {
        return (n + (n - 1) / 3) / 2 + 1;
    }

    // --- Parts -----------------------------------------------------------------------------------------------------

    function open(uint8 kind, bytes32 oldKey, bytes32 newKey, bytes32 name) private returns (uint256 id) {
        dropExpired();
        require(openIds.length < MAX_OPEN, "too many proposals are open; withdraw one or wait until one expires");
        uint256 own = 0;
        for (uint256 i = 0; i < openIds.length; i++) {
            Proposal storage other = proposals[openIds[i]];
            if (other.proposer == msg.sender) own++;
            bool same = other.kind == kind && other.oldKey == oldKey && other.newKey == newKey;
            require(!same, "the same proposal is open already; approve that one");
        }
        require(own < MAX_OPEN_PER_PROPOSER, "you have too many open proposals; withdraw one");
        id = ++proposalCount;
        Proposal storage p = proposals[id];
        (p.kind, p.status, p.opened, p.proposer) = (kind, OPEN, uint64(block.number), msg.sender);
        (p.oldKey, p.newKey, p.name) = (oldKey, newKey, name);
        p.approvers.push(msg.sender);
        openIds.push(id);
        emit Proposed(id, msg.sender, kind, oldKey, newKey, name);
    }

    /// Approves the change if enough current validators have.
    function settle(uint256 id) private {
        Proposal storage p = proposals[id];
        if (p.status != OPEN || approvals(p) < quorum(members.length)) return;
        p.status = APPROVED;
        pending += 1;
        emit ChangeApproved(id);
    }

    function approvals(Proposal storage p) private view returns (uint256 count) {
        for (uint256 i = 0; i < p.approvers.length; i++) {
            if (indexPlusOne[p.approvers[i]] != 0) count++;
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
            Proposal storage p = proposals[openIds[i]];
            if (p.status == OPEN && expired(p)) end(p, openIds[i], EXPIRED);
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

    function requireMember(bytes32 key) private view returns (uint256 index) {
        index = indexOf(key);
        require(index < members.length, "that key is not a validator");
    }

    function requireNew(bytes32 key) private view {
        require(key != 0, "a validator needs a key");
        require(!isMember(key), "that key is a validator already");
    }

    /// The index of a key; the length of the set if it is not in it.
    function indexOf(bytes32 key) private view returns (uint256) {
        uint256 found = indexPlusOne[accountOf(key)];
        return found == 0 ? members.length : found - 1;
    }

    function isNewcomer(Proposal storage p, address account) private view returns (bool) {
        return p.newKey != 0 && accountOf(p.newKey) == account;
    }

    function contains(address[] storage list, address item) private view returns (bool) {
        for (uint256 i = 0; i < list.length; i++) {
            if (list[i] == item) return true;
        }
        return false;
    }
}
