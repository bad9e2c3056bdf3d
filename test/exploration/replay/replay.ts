// Replays a trace on real agents, whose runners carry out what the machines order: after every step each of them must
// wait for exactly what the trace's machine has ordered and not yet got, stand in the same stage, have journalled the
// same, and have told its peer what it was to tell.
import { MemoryJournalDisk } from "../../../agents/adapters/memory-journal.ts";
import type { SourceEvent } from "../../../agents/domain/source.ts";
import type { Claim } from "../../../agents/ports/control-plane.ts";
import type { Assignment } from "../../../schemas/agent.ts";
import type { PeerMessage } from "../../../schemas/peer.ts";
import { makeKeyPair, type Signed, signerFrom } from "../../../schemas/signing.ts";
import { recordNow } from "../world/control-plane.ts";
import { hostAt, hostIds, hostOf, moveAt, otherSide, type Side, sidesAt, type World } from "../world/world.ts";
import { answerOf, enders, isReport, merged, settle, untilChecked } from "./answers.ts";
import { differenceOf, journalDifference, messageText, orderedMessages, roleOf } from "./expected.ts";
import { drain, HostDouble, LinkDouble, proven, roleKey, type Seed } from "./host-double.ts";
import type { Feed, Trace, TraceStep } from "./trace.ts";

export type Divergence = { what: string; trace: string[] };

const keys = await makeKeyPair();
const sign = await signerFrom(keys.privateKey);
const much = 1e9;

class Diverged extends Error {}

export async function replay(trace: Trace, seed: Seed = {}): Promise<Divergence | null> {
  const first = trace.steps[0];
  if (!first) return null;
  const stage = new Stage(trace, first.before, seed);
  for (const [at, step] of trace.steps.entries()) {
    try {
      await stage.play(step);
    } catch (error) {
      const names = trace.steps
        .slice(0, at + 1)
        .map(({ name, kind }) => `${name}${kind === "fault" ? " (fault)" : ""}`);
      return {
        what: error instanceof Diverged ? error.message : String((error as Error).stack),
        trace: [trace.scenario, ...names],
      };
    }
  }
  return null;
}

type Act = (host: HostDouble, role: string) => void | Promise<void>;

class Stage {
  readonly #trace: Trace;
  readonly #seed: Seed;
  readonly #disks: MemoryJournalDisk[];
  readonly #hosts: HostDouble[];
  readonly #lives: number[];
  /** By migration: what was asked and said for real, where the trace has a stand-in. */
  readonly #nonces = new Map<number, string>();
  readonly #words = new Map<number, Signed>();
  /** Roles that told their copy something twice. */
  readonly #repeats = new Set<string>();
  /** By role: the runner's own number of an ask. */
  readonly #asks = new Map<string, number>();

  #world: World;
  #after: World;

  constructor(trace: Trace, world: World, seed: Seed) {
    this.#world = world;
    this.#after = world;
    this.#trace = trace;
    this.#seed = seed;
    this.#disks = world.hosts.map(({ tokens }) => {
      const disk = new MemoryJournalDisk();
      for (const [v, token] of tokens.entries()) if (token > 0) disk.tokens.set(`vm-${v + 1}`, token);
      return disk;
    });
    this.#lives = world.hosts.map(() => 0);
    this.#hosts = world.hosts.map((_, h) => this.#newHost(h, world));
    for (const host of this.#hosts) void host.begin(sign).start();
  }

  #newHost(h: number, world: World): HostDouble {
    const disk = this.#disks[h] as MemoryJournalDisk;
    const host = new HostDouble(h, `${hostIds[h]}-${this.#lives[h]}`, disk, world, this.#seed);
    host.keepsTokensAtOnce = this.#trace.keepsTokensAtOnce;
    return host;
  }

  /** Where a role is, also once the exploration has forgotten its migration. */
  #hostOf({ m, side }: Pick<Feed, "m" | "side">): number {
    const known = this.#world.moves[m]?.record[side].hostId;
    return hostIds.indexOf(known || moveAt(this.#after, m).record[side].hostId);
  }

  #copyIdOf({ m, side }: Feed): string {
    return this.#world.moves[m]?.record[side].copyId || moveAt(this.#after, m).record[side].copyId;
  }

  async play(step: TraceStep): Promise<void> {
    const { before, after } = step;
    this.#world = before;
    this.#after = after;
    for (const host of this.#hosts) host.world = after;
    let feeds = merged(step);
    for (const [h, host] of before.hosts.entries()) {
      if (host.agent === "up" && hostAt(after, h).agent !== "up") this.#kill(h, step.name);
      if (host.agent !== "up" && hostAt(after, h).agent === "up") {
        const own = feeds.filter((feed) => this.#hostOf(feed) === h);
        feeds = feeds.filter((feed) => !own.includes(feed));
        await this.#start(h, after, own);
      }
    }
    feeds = await this.#consume(step, feeds);
    for (const feed of feeds) await this.#tell(feed);
    await this.#compare(after);
  }

  #kill(h: number, name: string): void {
    const host = this.#hosts[h] as HostDouble;
    host.isDead = true;
    for (const link of host.links.values()) link.isClosed = true;
    if (name.includes("journal")) {
      this.#disks[h]?.entries.clear();
      this.#disks[h]?.tokens.clear();
    }
    if (name.includes("reboots")) this.#lives[h] = (this.#lives[h] ?? 0) + 1;
    // Nothing hears of it until it is back.
    this.#hosts[h] = this.#newHost(h, host.world);
  }

  async #start(h: number, world: World, own: Feed[]): Promise<void> {
    const host = this.#newHost(h, world);
    this.#hosts[h] = host;
    host.answersStatus = true;
    const act = async (): Promise<void> => {
      void host.begin(sign).start();
      await drain();
      await drain();
    };
    if (own[0]) await this.#let(own, act);
    else await act();
    host.answersStatus = false;
  }

  /** One role is told something, and its messages are looked at. */
  async #let(feeds: Feed[], act: Act): Promise<void> {
    const [feed] = feeds;
    if (!feed) return;
    await this.#letRole(feed, feeds, act);
  }

  async #letRole(feed: Pick<Feed, "m" | "side">, feeds: Feed[], act: Act, said?: string[]): Promise<void> {
    const host = this.#hosts[this.#hostOf(feed)] as HostDouble;
    const role = roleKey(feed);
    host.current = role;
    host.sent = [];
    const commands = feeds.flatMap((one) => one.commands);
    host.reads = commands.flatMap(({ kind }) => {
      const isUnderWay = host.calls.some((call) => call.role === role && call.token === "read-record");
      return kind === "read-gate" || (kind === "read-record" && !isUnderWay) ? [kind] : [];
    });
    this.#noteRepeats(feed, commands);
    host.journals = commands.flatMap((command) => (command.kind === "journal" ? [command.what] : []));
    const isLinkedBefore = this.#isLinked(host, role);
    await act(host, role);
    await drain();
    const isLost = feeds.some(({ event }) => event?.kind === "peer-lost");
    const isLinked = !isLost && (isLinkedBefore || this.#isLinked(host, role));
    const hasAsked = this.#world.moves[feed.m]?.wire.journal.source?.hasAsked ?? false;
    const wanted = isLinked ? [...orderedMessages(feeds, hasAsked), ...(said ?? [])] : [];
    // The word is given once more where it was asked for once more meanwhile.
    const found = host.sent.map(messageText).filter((text, i, all) => text !== "relinquished" || all[i - 1] !== text);
    if (wanted.join() !== found.join()) throw new Diverged(`${role} says [${found}], and not [${wanted}]`);
    for (const message of host.sent) this.#remember(feed.m, role, feeds, message);
    host.current = "";
  }

  /** What the copy was already to be told is told again by the runner; in the exploration once is enough. */
  #noteRepeats({ m, side }: Pick<Feed, "m" | "side">, commands: Feed["commands"]): void {
    for (const command of commands) {
      if (command.kind !== "permit-next") continue;
      const isAsked = this.#world.moves[m]?.queue.pending.some(
        (one) =>
          one.at === side &&
          one.kind === "command" &&
          one.command.kind === command.kind &&
          one.command.copyId === command.copyId,
      );
      if (isAsked) this.#repeats.add(roleKey({ m, side }));
    }
  }

  async #tellAgain(host: HostDouble, role: string, wanted: boolean): Promise<void> {
    if (wanted || !this.#repeats.has(role)) return;
    for (let again = host.find(role, "permit-next"); again; again = host.find(role, "permit-next")) {
      host.current = role;
      host.take(again).answer();
      await drain();
      host.current = "";
    }
    this.#repeats.delete(role);
  }

  #isLinked(host: HostDouble, role: string): boolean {
    return host.links.get(role)?.isClosed === false;
  }

  #remember(m: number, role: string, feeds: Feed[], message: PeerMessage): void {
    if (message.kind === "ask-relinquish") this.#nonces.set(m, message.nonce);
    if (message.kind === "relinquished") this.#words.set(m, message.word);
    if (message.kind !== "ask-gate") return;
    const ordered = feeds.flatMap(({ commands }) => commands).find((one) => one.kind === "read-gate");
    if (ordered?.kind === "read-gate") this.#asks.set(`${role} ${ordered.ask}`, message.ask);
  }

  /** What the step is named for. @returns what is still to be told */
  async #consume(step: TraceStep, feeds: Feed[]): Promise<Feed[]> {
    const { name, before, after } = step;
    const claimed = /^M(\d+) (source|destination)(?:'s claim brings| claims)/.exec(name);
    if (claimed) return this.#claim(step, feeds, Number(claimed[1]), claimed[2] as Side);
    const named = /^M(\d+) (source|destination)(: | hears | gets )(\S+)(.*)$/.exec(name);
    if (!named) return feeds;
    const [m, side, how, what, rest] = [
      Number(named[1]),
      named[2] as Side,
      named[3],
      named[4] as string,
      named[5] as string,
    ];
    const about = { m, side };
    const isOwn = (feed: Feed): boolean => feed.m === m && feed.side === side;
    const own = feeds.findIndex((feed) => isOwn(feed) && !(enders.has(what) && feed.event?.kind === "stream-failed"));
    if (how === " gets ") {
      const { toSource, toDestination } = moveAt(before, m).wire;
      const [message] = side === "source" ? toSource : toDestination;
      if (!message || message.kind === "closed") return feeds;
      const heard = feeds.filter((feed) => feed.m === m && feed.side === side);
      const real = this.#realMessage(m, side, message as PeerMessage);
      await this.#letRole(about, heard, async (host, role) => {
        host.links.get(role)?.on?.message(real);
        if (real.kind === "relinquished")
          await untilChecked(
            () =>
              !heard.some(({ event, commands }) => event?.kind === "word-verified" && commands.length > 0) ||
              host.stages.get(role) !== "in-doubt",
          );
      });
      return feeds.filter((feed) => !heard.includes(feed));
    }
    const host = this.#hosts[this.#hostOf(about)] as HostDouble;
    const role = roleKey(about);
    if (how === " hears ") {
      const kind = what === "gate-read" ? "read-gate" : "read-record";
      const call = host.calls.find((one) => one.role === role && one.token === kind && one.stored !== undefined);
      if (!call) throw new Diverged(`${role} has no answer of ${kind} to hear`);
      await this.#letRole(about, feeds, () => host.take(call).answer(call.stored));
      return [];
    }
    // What its doing brought about before it was answered is heard before.
    for (const feed of own < 0 ? [] : feeds.splice(0, own)) await this.#tell(feed);
    const heard = own < 0 ? [] : feeds.splice(0, 1);
    const event = heard[0]?.event as SourceEvent | undefined;
    const kind = isReport(what) ? `report:${what}` : what === "journal" ? `journal:${rest.trim().split(" ")[0]}` : what;
    if (kind === "report:copy-seen" && !host.calls.some((call) => call.role === role && call.token.startsWith(kind))) {
      await this.#letRole(about, [], () => host.patience.find((one) => one.role === role)?.act());
    }
    const receiving = host.find(role, "open-stream");
    if (what === "open-stream" && !receiving) return feeds;
    if (what !== "open-stream" && receiving && !host.find(role, kind)) {
      await this.#letRole(about, [], () => host.take(receiving).answer({ address: "", port: 1 }));
    }
    const call = host.calls.find(
      (one) =>
        one.role === role &&
        (one.token === kind || one.token.startsWith(isReport(what) ? `${kind} ` : `${kind}:`)) &&
        one.stored === undefined,
    );
    if (!call) throw new Diverged(`${role} was to ${what}, and has not asked for it`);
    const record = proven(recordNow(after, m));
    const isReading = what === "read-record" || what === "read-gate";
    if (isReading && rest.includes("slowly")) {
      call.stored = { kind: "answered", record };
      return feeds;
    }
    host.answersStatus = what === "settle-stream";
    const said = what === "ask-word" ? ["ask-relinquish"] : what === "give-word" ? ["relinquished"] : [];
    await this.#letRole(
      about,
      heard,
      async () => {
        host.take(call);
        if (isReading)
          call.answer(rest.includes("answered") ? { kind: "answered", record } : { kind: "unknown", detail: "" });
        else if (isReport(what)) call.answer(answerOf(event, record));
        else if (what === "connect-peer" && event?.kind === "peer-linked") call.answer(this.#link(host, role, m, side));
        else settle(call, event);
        if (what === "give-word") await untilChecked(() => host.sent.length > 0 || !this.#isLinked(host, role));
      },
      said,
    );
    host.answersStatus = false;
    return feeds;
  }

  #link(host: HostDouble, role: string, m: number, side: Side): LinkDouble {
    const peer = this.#hostOf({ m, side: otherSide(side) });
    const link = new LinkDouble(this.#hosts[peer]?.incarnation ?? "", (message) => host.sent.push(message));
    host.links.set(role, link);
    return link;
  }

  /** Numbers, nonces and words are the runners' own. */
  #realMessage(
    m: number,
    side: Side,
    message: PeerMessage | { kind: "relayed"; record: ReturnType<typeof recordNow> },
  ): PeerMessage {
    switch (message.kind) {
      case "relayed":
        return { kind: "record", record: proven(message.record).signed };
      case "gate-open":
      case "gate-shut":
        return { kind: message.kind, ask: this.#asks.get(`${roleKey({ m, side })} ${message.ask}`) ?? -1 };
      case "ask-relinquish":
        return { kind: message.kind, nonce: this.#nonces.get(m) ?? "" };
      case "relinquished":
        return { kind: message.kind, word: this.#words.get(m) ?? message.word };
      default:
        return message;
    }
  }

  async #claim({ name, before }: TraceStep, feeds: Feed[], m: number, side: Side): Promise<Feed[]> {
    const h = hostOf(moveAt(before, m), side);
    const host = this.#hosts[h] as HostDouble;
    if (name.endsWith("answer lost")) {
      host.claim("unknown");
      await drain();
      await drain();
      return feeds;
    }
    const { record, wire } = moveAt(before, m);
    const end = (of: Side) => ({ ...record[of], address: "127.0.0.12", publicKey: keys.publicKey });
    const assignment = {
      migrationId: record.id,
      vmId: record.vmId,
      fencingToken: record.openedUnderToken,
      limits: record.limits,
      source: end("source"),
      destination: end("destination"),
      expiresAt: 0,
    } as Assignment;
    const claim: Claim = {
      assignmentsRevision: 0,
      copies: [],
      claimedBefore: hostAt(before, h).slot?.isClaimed ?? false,
      assignment: {
        role: side,
        assignment,
        signed: { payload: "", signature: "" },
        record: proven(recordNow(before, m)),
      },
    };
    host.answersStatus = wire.journal[side] === null;
    await this.#letRole({ m, side }, feeds, async () => {
      host.claim(claim);
      await drain();
      await drain();
    });
    host.answersStatus = false;
    return [];
  }

  /** What comes by itself. */
  async #tell(feed: Feed): Promise<void> {
    const { event, m, side } = feed;
    if (!event) throw new Error("taken up again by nobody");
    const copyId = this.#copyIdOf(feed);
    await this.#let([feed], (host, role) => {
      switch (event.kind) {
        case "peer-linked":
          host.expecting.get(role)?.(this.#link(host, role, m, side));
          return;
        case "peer-lost": {
          const link = host.links.get(role);
          host.links.delete(role);
          const word = host.find(role, "give-word");
          if (word) host.take(word); // Signed or not, it goes nowhere.
          if (link && !link.isClosed) {
            link.isClosed = true;
            link.on?.closed("");
          }
          return;
        }
        case "sampled":
          host.nowMs += 300; // A gate that stayed shut is asked for again.
          host.say(copyId, {
            kind: "sampled",
            sample: { ...event.round, roundDone: event.roundDone, totalBytes: 0, encrypted: true },
          });
          return;
        case "stream-sent":
          host.say(copyId, { kind: "sent" });
          return;
        case "loaded":
        case "resumed-by-supervisor":
          host.say(copyId, { kind: event.kind });
          return;
        case "stream-failed":
          host.say(copyId, { kind: event.kind, detail: "" });
          return;
        case "guest-ended":
          host.say(copyId, { kind: "ended", how: event.how, detail: event.detail });
          return;
        case "woke":
          this.#wake(host, role, feed);
          return;
        default:
          throw new Error(`nobody told ${role} ${event.kind}`);
      }
    });
  }

  #wake(host: HostDouble, role: string, feed: Feed): void {
    const wake = host.wakes.get(role);
    if (!wake) throw new Diverged(`${role} has no wake`);
    host.wakes.delete(role);
    // In the exploration instants are forgotten after each step: patience is over for this one.
    if (feed.isLate) host.jumpMs = much;
    wake.act();
    host.jumpMs = 0;
  }

  async #compare(world: World): Promise<void> {
    for (const [h, host] of this.#hosts.entries()) {
      if (hostAt(world, h).agent !== "up") continue;
      for (const role of new Set([
        ...host.calls.map((call) => call.role),
        ...host.wakes.keys(),
        ...host.links.keys(),
      ])) {
        const [, m, side] = /^M(\d+) (.*)$/.exec(role) ?? [];
        if (m && !roleOf(moveAt(world, Number(m)), side as Side)) await this.#leave(host, role);
      }
      const disk = this.#disks[h] as MemoryJournalDisk;
      for (const { m, side } of sidesAt(world, h)) {
        if (!roleOf(moveAt(world, m), side)) continue;
        const isToPermit = moveAt(world, m).queue.pending.some(
          (one) => one.at === side && one.kind === "command" && one.command.kind === "permit-next",
        );
        await this.#tellAgain(host, roleKey({ m, side }), isToPermit);
        const difference =
          differenceOf(world, host, m, side) ??
          journalDifference(world, host, disk.entries.get(moveAt(world, m).record.id), m, side);
        if (difference) throw new Diverged(difference);
      }
      for (const [v, token] of hostAt(world, h).tokens.entries()) {
        const known = disk.tokens.get(`vm-${v + 1}`) ?? 0;
        if (known > token) throw new Diverged(`${hostIds[h]} knows token ${known}, and not ${token}`);
        disk.tokens.set(`vm-${v + 1}`, token); // What it owes its own guests is not replayed.
      }
    }
  }

  /** A role that is over has remains to clear away, and its journal to close. */
  async #leave(host: HostDouble, role: string): Promise<void> {
    const remains = host.calls.find((call) => call.role === role && call.token === "destroy-copy");
    if (remains) {
      host.current = role;
      host.take(remains).answer();
      await drain();
      host.current = "";
    }
    for (const call of host.calls.filter((one) => one.role === role)) host.take(call);
    host.wakes.delete(role);
    host.links.delete(role);
  }
}
