/*
 * wsh_test_asks.h: what servers share, for tests: histories, members and kept values. wsh_test_host.h
 * includes it. Names that end in `_` are not for tests.
 *
 * What is asked is done at once, and its answer waits like a call by id.
 */
#ifndef WSH_TEST_ASKS_H
#define WSH_TEST_ASKS_H

#include "wsh_test_host.h"

#ifdef __cplusplus
extern "C" {
#endif

static inline WshStatus wsh_test_key_(WshStr key, int may_be_empty) {
    const WshStatus lent = wsh_test_lent_text_(key);
    if (lent != WSH_OK) return lent;
    if (key.len > 255) return WSH_TOO_BIG;
    if (key.len == 0) return may_be_empty ? WSH_OK : WSH_INVALID;
    return memchr(key.ptr, 0, key.len) != NULL ? WSH_INVALID : WSH_OK;
}

static inline WshStatus wsh_test_limit_(uint64_t *limit) {
    if (*limit == 0) return WSH_INVALID;
    if (*limit > 1024) *limit = 1024;
    return WSH_OK;
}

static inline uint64_t wsh_test_hash_(WshStr topic) {
    uint64_t hash = UINT64_C(14695981039346656037);
    size_t i;
    for (i = 0; i < topic.len; i++) hash = (hash ^ topic.ptr[i]) * UINT64_C(1099511628211);
    return hash;
}

/* A position: the topic and the number of a publication. */
static inline WshBytes wsh_test_position_(WshTest *test, WshStr topic, uint64_t number) {
    uint64_t words[2];
    words[0] = wsh_test_hash_(topic);
    words[1] = number;
    return wsh_test_keep_(test, wsh_bytes(words, sizeof words));
}

/* Whether everything behind a position is there; then sets `number`. */
static inline int wsh_test_recovers_(const WshTest *test, WshStr topic, WshBytes position,
                                     uint64_t *number) {
    uint64_t words[2];
    if (position.len != sizeof words) return 0;
    memcpy(words, position.ptr, sizeof words);
    if (words[0] != wsh_test_hash_(topic) || words[1] > test->published) return 0;
    if (words[1] < test->dropped) return 0;
    *number = words[1];
    return 1;
}

/* Adds a publication to the history, in the place of the oldest if that is full. */
static inline WshTestKept *wsh_test_keep_publication_(WshTest *test, WshStr topic, uint32_t kind,
                                                      WshBytes bytes) {
    WshTestKept *kept;
    if (test->n_history == WSH_TEST_HISTORY_MAX) {
        test->dropped = test->history[0].number;
        memmove(&test->history[0], &test->history[1],
                (WSH_TEST_HISTORY_MAX - 1) * sizeof test->history[0]);
        test->n_history--;
    }
    kept = &test->history[test->n_history++];
    memset(kept, 0, sizeof *kept);
    kept->number = ++test->published;
    kept->kind = kind;
    kept->name = topic;
    kept->value = bytes;
    return kept;
}

/* The publications of a topic behind a number, or the last `limit` of them; their number is `n`. */
static inline size_t wsh_test_first_(const WshTest *test, WshStr topic, uint64_t behind,
                                     uint64_t last, size_t *n) {
    size_t i, first = test->n_history;
    *n = 0;
    for (i = test->n_history; i > 0 && *n < last; i--) {
        const WshTestKept *kept = &test->history[i - 1];
        if (!wsh_test_same_(kept->name, topic)) continue;
        if (kept->number <= behind) break;
        first = i - 1;
        ++*n;
    }
    return first;
}

static inline WshItem *wsh_test_item_(WshTest *test, WshAnswer *answer) {
    WshItem *item;
    if (test->n_items == WSH_TEST_ITEMS_MAX) wsh_test_full_("items", "WSH_TEST_ITEMS_MAX");
    item = &test->items[test->n_items++];
    memset(item, 0, sizeof *item);
    if (answer->n_items++ == 0) answer->items = item;
    return item;
}

static inline WshAnswer wsh_test_new_answer_(const WshTest *test) {
    WshAnswer answer;
    memset(&answer, 0, sizeof answer);
    answer.size = (uint32_t)sizeof answer;
    answer.item_size = (uint32_t)sizeof(WshItem);
    if (test->is_away) answer.status = WSH_UNAVAILABLE;
    return answer;
}

/* Whether one more ask of a session may wait, or with id 0 of the handler. */
static inline WshStatus wsh_test_may_ask_(WshTest *test, uint64_t id) {
    const WshTestSession *client = wsh_test_find_(test, id);
    size_t i, waiting = 0;
    if (id != 0 && (client == NULL || client->refuses_letters)) return WSH_GONE;
    for (i = 0; i < test->n_letters; i++) {
        if (test->letters[i].id == id && test->letters[i].what == WSH_TEST_ANSWER_) waiting++;
    }
    if (waiting == (id != 0 ? 64u : 1024u)) return WSH_FULL;
    return test->n_letters == WSH_TEST_LETTERS_MAX ? WSH_FULL : WSH_OK;
}

/* A letter that the rules of calls by id do not refuse. */
static inline WshTestLetter *wsh_test_push_(WshTest *test, uint32_t what, uint64_t id) {
    WshTestLetter *letter;
    if (test->n_letters == WSH_TEST_LETTERS_MAX) wsh_test_full_("letters", "WSH_TEST_LETTERS_MAX");
    letter = &test->letters[test->n_letters++];
    memset(letter, 0, sizeof *letter);
    letter->id = id;
    letter->what = what;
    return letter;
}

static inline void wsh_test_push_answer_(WshTest *test, uint64_t id, uint64_t token,
                                         WshAnswer answer) {
    WshTestLetter *letter = wsh_test_push_(test, WSH_TEST_ANSWER_, id);
    letter->note = token;
    letter->answer = answer;
}

/* Has the handler hear of a change of members. */
static inline void wsh_test_push_change_(WshTest *test, uint32_t kind, const WshTestKept *member,
                                         uint64_t version) {
    WshTestLetter *letter;
    if (test->vtable.presence == NULL || member->name.ptr[0] == '/') return;
    letter = wsh_test_push_(test, WSH_TEST_CHANGE_, 0);
    letter->change.size = (uint32_t)sizeof letter->change;
    letter->change.kind = kind;
    letter->change.version = version;
    letter->change.id = member->id;
    letter->change.topic = member->name;
    letter->change.value = member->value;
}

/* The version of the members of a topic, which a change raises. */
static inline uint64_t *wsh_test_version_(WshTest *test, WshStr topic) {
    size_t i;
    for (i = 0; i < test->n_versions; i++) {
        if (wsh_test_same_(test->versions[i].name, topic)) return &test->versions[i].number;
    }
    if (i == WSH_TEST_KEPT_MAX) wsh_test_full_("topics", "WSH_TEST_KEPT_MAX");
    memset(&test->versions[i], 0, sizeof test->versions[i]);
    test->versions[i].name = wsh_test_keep_(test, topic);
    test->n_versions++;
    return &test->versions[i].number;
}

/* The index of a member; their number if the session is none. */
static inline size_t wsh_test_member_(const WshTest *test, WshStr topic, uint64_t id) {
    size_t i = 0;
    while (i < test->n_members &&
           (test->members[i].id != id || !wsh_test_same_(test->members[i].name, topic))) {
        i++;
    }
    return i;
}

static inline void wsh_test_remove_member_(WshTest *test, size_t at) {
    const WshTestKept member = test->members[at];
    test->members[at] = test->members[--test->n_members];
    wsh_test_push_change_(test, WSH_LEFT, &member, ++*wsh_test_version_(test, member.name));
}

/* The session is over: it is a member of no topic any more. */
static inline void wsh_test_leave_all_(WshTest *test, uint64_t id) {
    size_t i = test->n_members;
    while (i-- > 0) {
        if (test->members[i].id == id) wsh_test_remove_member_(test, i);
    }
}

static inline WshStatus wsh_test_join_(WshTestSession *client, uint64_t token, WshStr topic,
                                       WshBytes position, uint64_t last) {
    WshTest *test = client->test;
    WshAnswer answer = wsh_test_new_answer_(test);
    WshStatus status = wsh_test_topic_(topic);
    uint64_t behind = 0;
    size_t i, n = 0;
    if (status == WSH_OK) status = wsh_test_lent_bytes_(position);
    if (status == WSH_OK && position.len > WSH_POSITION_BYTES_MAX) status = WSH_INVALID;
    if (status == WSH_OK) status = wsh_test_may_ask_(test, client->conn.id);
    if (status != WSH_OK) return status;
    if (wsh_test_find_topic_(client, topic) < client->n_topics) return WSH_INVALID;
    if (client->n_topics == WSH_TEST_TOPICS_MAX) return WSH_TOO_BIG;
    topic = wsh_test_keep_(test, topic);
    if (test->is_away) {
        wsh_test_push_answer_(test, client->conn.id, token, answer);
        return WSH_OK;
    }
    if (wsh_test_recovers_(test, topic, position, &behind)) {
        i = wsh_test_first_(test, topic, behind, UINT64_MAX, &n);
        answer.flags = WSH_RECOVERED;
    } else {
        i = wsh_test_first_(test, topic, 0, last, &n);
        if (position.len == 0) answer.flags = WSH_RECOVERED;
    }
    answer.follows = n;
    answer.position = wsh_test_position_(test, topic, test->published);
    wsh_test_push_answer_(test, client->conn.id, token, answer);
    for (; n > 0; i++) {
        WshTestLetter *letter;
        if (!wsh_test_same_(test->history[i].name, topic)) continue;
        letter = wsh_test_push_(test, WSH_TEST_MISSED_, client->conn.id);
        letter->code = test->history[i].kind;
        letter->bytes = test->history[i].value;
        letter->topic = topic;
        letter->note = test->history[i].number;
        n--;
    }
    client->since[client->n_topics] = test->published;
    client->topics[client->n_topics++] = topic;
    return WSH_OK;
}

static inline WshStatus WSH_CALL wsh_test_host_subscribe_from_(WshConn *conn, uint64_t token,
                                                               WshStr topic, WshBytes position,
                                                               uint64_t last) {
    WshStatus answer;
    WSH_TEST_ON_CONN_(conn, answer,
                      wsh_test_still_open_(client)
                          ? WSH_GONE
                          : wsh_test_join_(client, token, topic, position, last));
    return answer;
}

static inline WshStatus wsh_test_enter_topic_(WshTestSession *client, uint64_t token, WshStr topic,
                                              WshBytes value) {
    WshTest *test = client->test;
    WshAnswer answer = wsh_test_new_answer_(test);
    WshStatus status = wsh_test_topic_(topic);
    uint64_t *version;
    size_t at;
    if (status == WSH_OK) status = wsh_test_lent_bytes_(value);
    if (status == WSH_OK && value.len > 1024) status = WSH_TOO_BIG;
    if (status == WSH_OK) status = wsh_test_may_ask_(test, client->conn.id);
    if (status != WSH_OK) return status;
    at = wsh_test_member_(test, topic, client->conn.id);
    if (at == WSH_TEST_KEPT_MAX) answer.status = WSH_TOO_BIG;
    if (answer.status == WSH_OK) {
        WshTestKept *member = &test->members[at];
        const int is_new = at == test->n_members;
        version = wsh_test_version_(test, topic);
        if (is_new) {
            memset(member, 0, sizeof *member);
            member->id = client->conn.id;
            member->name = wsh_test_keep_(test, topic);
            test->n_members++;
        }
        if (is_new || !wsh_test_same_(member->value, value)) {
            member->value = wsh_test_keep_(test, value);
            wsh_test_push_change_(test, is_new ? WSH_JOINED : WSH_CHANGED, member, ++*version);
        }
        answer.version = *version;
    }
    wsh_test_push_answer_(test, client->conn.id, token, answer);
    return WSH_OK;
}

static inline WshStatus WSH_CALL wsh_test_host_enter_(WshConn *conn, uint64_t token, WshStr topic,
                                                      WshBytes value) {
    WshStatus answer;
    WSH_TEST_ON_CONN_(conn, answer,
                      wsh_test_still_open_(client)
                          ? WSH_GONE
                          : wsh_test_enter_topic_(client, token, topic, value));
    return answer;
}

static inline WshStatus wsh_test_leave_topic_(WshTestSession *client, WshStr topic) {
    const WshStatus status = wsh_test_topic_(topic);
    size_t at;
    if (status != WSH_OK) return status;
    at = wsh_test_member_(client->test, topic, client->conn.id);
    if (at < client->test->n_members) wsh_test_remove_member_(client->test, at);
    return WSH_OK;
}

static inline WshStatus WSH_CALL wsh_test_host_leave_(WshConn *conn, WshStr topic) {
    WshStatus answer;
    WSH_TEST_ON_CONN_(conn, answer, wsh_test_leave_topic_(client, topic));
    return answer;
}

static inline WshStatus WSH_CALL wsh_test_host_publish_acked_(void *ctx, uint64_t id,
                                                              uint64_t token, WshStr topic,
                                                              uint32_t kind, const uint8_t *data,
                                                              size_t len, uint64_t except) {
    const WshBytes bytes = wsh_bytes(data, len);
    WshTest *test = wsh_test_enter_(ctx);
    WshStatus status;
    if (test == NULL) return wsh_test_no_entry_(ctx);
    status = wsh_test_topic_(topic);
    if (status == WSH_OK) status = wsh_test_lent_bytes_(bytes);
    if (status == WSH_OK) status = wsh_test_kind_by_id_(kind, bytes);
    if (status == WSH_OK) status = wsh_test_may_ask_(test, id);
    if (status == WSH_OK) {
        WshAnswer answer = wsh_test_new_answer_(test);
        if (answer.status == WSH_OK) {
            const WshTestLetter letter = wsh_test_letter_(WSH_TEST_SENT, kind & 0xffu, bytes);
            wsh_test_publish_(test, topic, letter, except);
            answer.position = wsh_test_position_(test, topic, test->published);
        }
        wsh_test_push_answer_(test, id, token, answer);
    }
    wsh_test_unlock_(test);
    return status;
}

static inline WshAnswer wsh_test_page_(WshTest *test, WshStr topic, WshBytes position,
                                       uint64_t limit) {
    WshAnswer answer = wsh_test_new_answer_(test);
    uint64_t behind = 0, last = position.len != 0 ? UINT64_MAX : limit;
    size_t i, n;
    if (answer.status != WSH_OK) return answer;
    wsh_test_first_(test, topic, 0, 1, &n);
    if (n > 0) {
        i = wsh_test_first_(test, topic, 0, 1, &n);
        answer.position = wsh_test_position_(test, topic, test->history[i].number);
    }
    if (position.len != 0 && !wsh_test_recovers_(test, topic, position, &behind)) return answer;
    answer.flags = WSH_RECOVERED;
    for (i = wsh_test_first_(test, topic, behind, last, &n); n > 0; i++) {
        WshItem *item;
        if (!wsh_test_same_(test->history[i].name, topic)) continue;
        if (answer.n_items == limit) {
            answer.next = wsh_item(&answer, answer.n_items - 1)->position;
            break;
        }
        item = wsh_test_item_(test, &answer);
        item->kind = test->history[i].kind;
        item->value = test->history[i].value;
        item->position = wsh_test_position_(test, topic, test->history[i].number);
        n--;
    }
    return answer;
}

static inline WshStatus WSH_CALL wsh_test_host_history_(void *ctx, uint64_t id, uint64_t token,
                                                        WshStr topic, WshBytes position,
                                                        uint64_t limit) {
    WshTest *test = wsh_test_enter_(ctx);
    WshStatus status;
    if (test == NULL) return wsh_test_no_entry_(ctx);
    status = wsh_test_topic_(topic);
    if (status == WSH_OK) status = wsh_test_lent_bytes_(position);
    if (status == WSH_OK && position.len > WSH_POSITION_BYTES_MAX) status = WSH_INVALID;
    if (status == WSH_OK) status = wsh_test_limit_(&limit);
    if (status == WSH_OK) status = wsh_test_may_ask_(test, id);
    if (status == WSH_OK) {
        wsh_test_push_answer_(test, id, token, wsh_test_page_(test, topic, position, limit));
    }
    wsh_test_unlock_(test);
    return status;
}

/* Members are in the order of their entry, and a page begins at an index. */
static inline WshAnswer wsh_test_members_(WshTest *test, WshStr topic, uint64_t from,
                                          uint64_t limit) {
    WshAnswer answer = wsh_test_new_answer_(test);
    size_t i;
    if (answer.status != WSH_OK) return answer;
    answer.version = *wsh_test_version_(test, topic);
    for (i = (size_t)from; i < test->n_members; i++) {
        WshItem *item;
        if (!wsh_test_same_(test->members[i].name, topic)) continue;
        if (answer.n_items == limit) {
            const uint64_t next = i;
            answer.next = wsh_test_keep_(test, wsh_bytes(&next, sizeof next));
            break;
        }
        item = wsh_test_item_(test, &answer);
        item->id = test->members[i].id;
        item->value = test->members[i].value;
    }
    return answer;
}

static inline WshStatus WSH_CALL wsh_test_host_present_(void *ctx, uint64_t id, uint64_t token,
                                                        WshStr topic, WshBytes after,
                                                        uint64_t limit) {
    WshTest *test = wsh_test_enter_(ctx);
    uint64_t from = 0;
    WshStatus status;
    if (test == NULL) return wsh_test_no_entry_(ctx);
    status = wsh_test_topic_(topic);
    if (status == WSH_OK) status = wsh_test_lent_bytes_(after);
    if (status == WSH_OK && after.len != 0 && after.len != sizeof from) status = WSH_INVALID;
    if (status == WSH_OK) status = wsh_test_limit_(&limit);
    if (status == WSH_OK) status = wsh_test_may_ask_(test, id);
    if (status == WSH_OK) {
        if (after.len != 0) memcpy(&from, after.ptr, sizeof from);
        wsh_test_push_answer_(test, id, token, wsh_test_members_(test, topic, from, limit));
    }
    wsh_test_unlock_(test);
    return status;
}

/* The index of a value; their number if there is none. Drops those whose time is over. */
static inline size_t wsh_test_value_(WshTest *test, WshStr key) {
    size_t i = test->n_values;
    while (i-- > 0) {
        if (test->values[i].ends > test->now) continue;
        test->n_values--;
        memmove(&test->values[i], &test->values[i + 1],
                (test->n_values - i) * sizeof test->values[0]);
    }
    for (i = 0; i < test->n_values && !wsh_test_same_(test->values[i].name, key); i++) {
    }
    return i;
}

/* Whether a value has the version that is named; otherwise the answer is a conflict. */
static inline int wsh_test_may_change_(const WshTest *test, size_t at, uint64_t version,
                                       WshAnswer *answer) {
    const uint64_t current = at < test->n_values ? test->values[at].number : 0;
    if (answer->status != WSH_OK) return 0;
    if (version == WSH_ANY_VERSION || version == current) return 1;
    answer->status = WSH_CONFLICT;
    answer->version = current;
    return 0;
}

static inline void wsh_test_item_of_(WshTest *test, WshAnswer *answer, const WshTestKept *value) {
    WshItem *item = wsh_test_item_(test, answer);
    item->name = value->name;
    item->value = value->value;
    item->version = value->number;
}

static inline WshStatus WSH_CALL wsh_test_host_store_get_(void *ctx, uint64_t id, uint64_t token,
                                                          WshStr key) {
    WshTest *test = wsh_test_enter_(ctx);
    WshStatus status;
    if (test == NULL) return wsh_test_no_entry_(ctx);
    status = wsh_test_key_(key, 0);
    if (status == WSH_OK) status = wsh_test_may_ask_(test, id);
    if (status == WSH_OK) {
        WshAnswer answer = wsh_test_new_answer_(test);
        const size_t at = wsh_test_value_(test, key);
        if (answer.status == WSH_OK && at < test->n_values) {
            wsh_test_item_of_(test, &answer, &test->values[at]);
            answer.version = test->values[at].number;
        }
        wsh_test_push_answer_(test, id, token, answer);
    }
    wsh_test_unlock_(test);
    return status;
}

static inline WshAnswer wsh_test_put_value_(WshTest *test, WshStr key, WshBytes value,
                                            uint64_t version, uint64_t ttl_ms) {
    WshAnswer answer = wsh_test_new_answer_(test);
    const size_t at = wsh_test_value_(test, key);
    WshTestKept *kept;
    if (!wsh_test_may_change_(test, at, version, &answer)) return answer;
    if (at == WSH_TEST_KEPT_MAX) {
        answer.status = WSH_TOO_BIG;
        return answer;
    }
    kept = &test->values[at];
    if (at == test->n_values) {
        memset(kept, 0, sizeof *kept);
        kept->name = wsh_test_keep_(test, key);
        test->n_values++;
    }
    kept->value = wsh_test_keep_(test, value);
    kept->number = answer.version = ++test->last_version;
    kept->ends = ttl_ms == 0 || ttl_ms > UINT64_MAX - test->now ? UINT64_MAX : test->now + ttl_ms;
    return answer;
}

static inline WshStatus WSH_CALL wsh_test_host_store_put_(void *ctx, uint64_t id, uint64_t token,
                                                          WshStr key, WshBytes value,
                                                          uint64_t version, uint64_t ttl_ms) {
    WshTest *test = wsh_test_enter_(ctx);
    WshStatus status;
    if (test == NULL) return wsh_test_no_entry_(ctx);
    status = wsh_test_key_(key, 0);
    if (status == WSH_OK) status = wsh_test_lent_bytes_(value);
    if (status == WSH_OK && value.len > 65536) status = WSH_TOO_BIG;
    if (status == WSH_OK) status = wsh_test_may_ask_(test, id);
    if (status == WSH_OK) {
        wsh_test_push_answer_(test, id, token,
                              wsh_test_put_value_(test, key, value, version, ttl_ms));
    }
    wsh_test_unlock_(test);
    return status;
}

static inline WshStatus WSH_CALL wsh_test_host_store_delete_(void *ctx, uint64_t id,
                                                             uint64_t token, WshStr key,
                                                             uint64_t version) {
    WshTest *test = wsh_test_enter_(ctx);
    WshStatus status;
    if (test == NULL) return wsh_test_no_entry_(ctx);
    status = wsh_test_key_(key, 0);
    if (status == WSH_OK) status = wsh_test_may_ask_(test, id);
    if (status == WSH_OK) {
        WshAnswer answer = wsh_test_new_answer_(test);
        const size_t at = wsh_test_value_(test, key);
        if (wsh_test_may_change_(test, at, version, &answer)) {
            if (at < test->n_values) {
                test->n_values--;
                memmove(&test->values[at], &test->values[at + 1],
                        (test->n_values - at) * sizeof test->values[0]);
            }
            answer.version = ++test->last_version;
        }
        wsh_test_push_answer_(test, id, token, answer);
    }
    wsh_test_unlock_(test);
    return status;
}

/* Values are in the order in which their keys were first put, and `next` is the last key of a page. */
static inline WshAnswer wsh_test_values_(WshTest *test, WshStr prefix, WshBytes after,
                                         uint64_t limit) {
    WshAnswer answer = wsh_test_new_answer_(test);
    const size_t at = wsh_test_value_(test, after);
    size_t i = after.len != 0 && at < test->n_values ? at + 1 : 0;
    if (answer.status != WSH_OK) return answer;
    for (; i < test->n_values; i++) {
        const WshTestKept *value = &test->values[i];
        if (value->name.len < prefix.len) continue;
        if (!wsh_test_same_(wsh_bytes(value->name.ptr, prefix.len), prefix)) continue;
        if (answer.n_items == limit) {
            answer.next = wsh_item(&answer, answer.n_items - 1)->name;
            break;
        }
        wsh_test_item_of_(test, &answer, value);
    }
    return answer;
}

static inline WshStatus WSH_CALL wsh_test_host_store_list_(void *ctx, uint64_t id, uint64_t token,
                                                           WshStr prefix, WshBytes after,
                                                           uint64_t limit) {
    WshTest *test = wsh_test_enter_(ctx);
    WshStatus status;
    if (test == NULL) return wsh_test_no_entry_(ctx);
    status = wsh_test_key_(prefix, 1);
    if (status == WSH_OK && wsh_test_key_(after, 1) != WSH_OK) status = WSH_INVALID;
    if (status == WSH_OK) status = wsh_test_limit_(&limit);
    if (status == WSH_OK) status = wsh_test_may_ask_(test, id);
    if (status == WSH_OK) {
        wsh_test_push_answer_(test, id, token, wsh_test_values_(test, prefix, after, limit));
    }
    wsh_test_unlock_(test);
    return status;
}

static inline WshStatus WSH_CALL wsh_test_write_(void *ctx, const uint8_t *data, size_t len) {
    WshBytes *state = (WshBytes *)ctx;
    const WshBytes bytes = wsh_bytes(data, len);
    const WshStatus lent = wsh_test_lent_bytes_(bytes);
    if (state == NULL || state != wsh_test_sink_) return WSH_MISUSE;
    if (lent != WSH_OK) return lent;
    if (len > WSH_TEST_STATE_MAX - state->len) return WSH_TOO_BIG;
    if (len > 0) memcpy(wsh_test_running_->state + state->len, data, len);
    state->len += len;
    return WSH_OK;
}

/* A sink that appends to bytes at the beginning of `state`. It is for one callback. */
static inline WshSink wsh_test_sink_into_(WshBytes *state) {
    WshSink sink;
    memset(&sink, 0, sizeof sink);
    sink.size = (uint32_t)sizeof sink;
    sink.ctx = state;
    sink.write = wsh_test_write_;
    return sink;
}

/* The form in which a publication goes to the peers. */
static inline WshBytes wsh_test_form_(WshTest *test, const WshTestLetter *letter) {
    WshBytes form = wsh_bytes(test->state, 0), position;
    const WshSink sink = wsh_test_sink_into_(&form);
    WshStatus status;
    if (test->vtable.envelope == NULL || letter->topic.ptr[0] == '/') return letter->bytes;
    wsh_test_lock_(test);
    position = wsh_test_position_(test, letter->topic, letter->note);
    wsh_test_unlock_(test);
    wsh_test_sink_ = &form;
    status = test->vtable.envelope(test->instance.handler, letter->topic, position, letter->code,
                                   letter->bytes.ptr, letter->bytes.len, &sink);
    wsh_test_sink_ = NULL;
    if (status != WSH_OK) return letter->bytes;
    wsh_test_lock_(test);
    form = wsh_test_keep_(test, form);
    wsh_test_unlock_(test);
    return form;
}

/* Sends a publication, or news of members, to the subscribers of a topic. */
static inline int64_t wsh_test_fan_out_(WshTest *test, const WshTestLetter *letter) {
    int64_t count = 0;
    size_t i, at;
    for (i = 0; i < test->n_sessions; i++) {
        const WshTestSession *client = &test->sessions[i];
        if (!client->is_known || client->conn.id == letter->except) continue;
        at = wsh_test_find_topic_(client, letter->topic);
        if (at == client->n_topics || client->since[at] >= letter->note) continue;
        if (wsh_test_post_(test, client->conn.id,
                           wsh_test_letter_(WSH_TEST_SENT, letter->code, letter->bytes)) >= 0) {
            count++;
        }
    }
    return count;
}

/* Calls the handler for a change of members, and tells the subscribers. */
static inline void wsh_test_tell_change_(WshTest *test, WshTestLetter letter) {
    WshBytes news = wsh_bytes(test->state, 0);
    const WshSink sink = wsh_test_sink_into_(&news);
    WshStatus status;
    letter.code = WSH_TEXT;
    wsh_test_sink_ = &news;
    status = test->vtable.presence(test->instance.handler, &letter.change, &letter.code, &sink);
    wsh_test_sink_ = NULL;
    if (status != WSH_OK || news.len == 0) return;
    letter.bytes = news;
    letter.topic = letter.change.topic;
    letter.note = UINT64_MAX;
    wsh_test_lock_(test);
    wsh_test_fan_out_(test, &letter);
    wsh_test_unlock_(test);
}

/* Does what a letter to the handler itself is for. */
static inline void wsh_test_serve_(WshTest *test, WshTestLetter letter) {
    if (letter.what == WSH_TEST_CHANGE_) {
        wsh_test_tell_change_(test, letter);
    } else if (letter.what == WSH_TEST_PUBLISHED_) {
        letter.bytes = wsh_test_form_(test, &letter);
        wsh_test_lock_(test);
        wsh_test_fan_out_(test, &letter);
        wsh_test_unlock_(test);
    } else if (letter.what == WSH_TEST_ANSWER_ && test->vtable.answered != NULL) {
        test->vtable.answered(test->instance.handler, letter.note, &letter.answer);
    }
}

#ifdef __cplusplus
}
#endif

#endif
