// zigbee-herdsman, unmodified, updates the firmware of one device through an EZSP dongle.
//
//   node ota.mjs URL FOLDER EUI64 INSTALL-CODE [IMAGE] [--pace MS] [--within S]
//
// URL           of the dongle: tcp://127.0.0.1:6638, or a serial port
// FOLDER        where herdsman keeps its network: a second run with the same folder finds it again
// EUI64, CODE   from the label of the device
// IMAGE         an OTA upgrade file; without one nothing is updated
// --pace        least milliseconds between two blocks (herdsman's own default is 250)
// --within      seconds that each step may take
//
// It forms the network or resumes it, lets this one device in by its install code, interviews it, reads
// attributes, runs the update with herdsman's OTA server, and waits until the device says that it runs the new
// version. What happens is told in JSON lines on standard output; herdsman's own log goes to standard error.
// Exit status: 0 done, 1 something failed, 2 wrong usage.

import {randomBytes} from "node:crypto";
import {existsSync, mkdirSync, readFileSync, writeFileSync} from "node:fs";
import {join, resolve} from "node:path";
import {parseArgs} from "node:util";
import {Controller, parseOtaHeader, setLogger, Zcl} from "zigbee-herdsman";

const CHANNEL = 15;
const PAN_ID = 0x1a62;
const JOIN_WINDOW = 254; // seconds, the longest that there is
const FROM_CLIENT = {direction: Zcl.Direction.SERVER_TO_CLIENT}; // an OTA client's attributes

const tell = (what, fields = {}) => console.log(JSON.stringify({what, ...fields}));
const version = (number) => number.toString(16).padStart(8, "0").toUpperCase();

class Failure extends Error {}

/** What was asked for; ends the program if that is not clear. */
function asked() {
    try {
        const {values, positionals} = parseArgs({
            allowPositionals: true,
            options: {pace: {type: "string", default: "250"}, within: {type: "string", default: "120"}},
        });
        const [url, folder, eui64, code, image] = positionals;
        if (code === undefined || positionals.length > 5) {
            throw new Error("say URL FOLDER EUI64 INSTALL-CODE [IMAGE]");
        }
        const wanted = {
            url,
            folder: resolve(folder),
            eui64: `0x${eui64.replace(/[-:]/g, "").toLowerCase()}`,
            code: code.replace(/[-: ]/g, "").toLowerCase(),
            image: image === undefined ? undefined : resolve(image),
            version: image === undefined ? undefined : parseOtaHeader(readFileSync(image)).fileVersion,
            pace: Number(values.pace),
            within: Number(values.within) * 1000,
        };
        if (!/^0x[0-9a-f]{16}$/.test(wanted.eui64)) throw new Error(`${eui64} is no EUI-64`);
        if (!/^([0-9a-f]{4})+$/.test(wanted.code)) throw new Error("an install code consists of hex digits");
        if (!(wanted.pace >= 0 && wanted.within > 0)) throw new Error("--pace and --within are numbers");
        return wanted;
    } catch (error) {
        console.error(`ota.mjs: ${error.message}`);
        process.exit(2);
    }
}

/** This, or a failure after so many milliseconds. */
async function within(ms, promise, what) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Failure(`${what}: not within ${ms / 1000} s`)), ms);
    });
    return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The network's key: made up once, kept in the folder. */
function networkKey(folder) {
    const file = join(folder, "network.key");
    if (!existsSync(file)) {
        writeFileSync(file, randomBytes(16).toString("hex"), {mode: 0o600});
    }
    return [...Buffer.from(readFileSync(file, "utf8"), "hex")];
}

function build({url, folder, eui64}) {
    mkdirSync(folder, {recursive: true, mode: 0o700}); // keys are kept in it
    return new Controller({
        network: {
            panID: PAN_ID,
            extendedPanID: Array(8).fill(0xdd),
            channelList: [CHANNEL],
            networkKey: networkKey(folder),
        },
        transport: {path: url, adapter: "ember"},
        adapter: {},
        databasePath: join(folder, "database.db"),
        databaseBackupPath: join(folder, "database.db.backup"),
        backupPath: join(folder, "coordinator.json"),
        acceptJoiningDeviceHandler: async (joining) => joining === eui64,
    });
}

/** The device, let in and interviewed now unless that happened in an earlier run. */
async function admitted(controller, {eui64, code, within: patience}) {
    const known = controller.getDeviceByIeeeAddr(eui64);
    if (known?.interviewState === "SUCCESSFUL") {
        tell("known", {device: eui64});
        return known;
    }
    const interviewed = new Promise((done, failed) => {
        controller.on("deviceInterview", ({status, device}) => {
            if (status === "successful") done(device);
            if (status === "failed") failed(new Failure(`the interview of ${device.ieeeAddr} failed`));
        });
    });
    controller.on("deviceJoined", ({device}) => tell("joined", {device: device.ieeeAddr}));
    await controller.addInstallCode(`${eui64.slice(2)}|${code}`);
    await controller.permitJoin(JOIN_WINDOW);
    const device = await within(patience, interviewed, "waiting for the device");
    await controller.permitJoin(0);
    const [endpoint] = device.endpoints;
    tell("interviewed", {
        device: device.ieeeAddr,
        model: device.modelID,
        type: device.type,
        manufacturer: device.manufacturerID,
        profile: endpoint.profileID,
        inputs: endpoint.inputClusters,
        outputs: endpoint.outputClusters,
    });
    return device;
}

/** What the device says of itself, asked over the air. */
async function read(device) {
    const [endpoint] = device.endpoints;
    const basic = await endpoint.read("genBasic", ["modelId", "manufacturerName", "zclVersion"]);
    const ota = await endpoint.read("genOta", ["currentFileVersion", "imageUpgradeStatus"], FROM_CLIENT);
    tell("attributes", {...basic, ...ota, currentFileVersion: version(ota.currentFileVersion)});
    return ota.currentFileVersion;
}

/** Serve the image and wait for the device's announcement after its restart. */
async function update(device, {image, pace, within: patience}, running) {
    const progress = (percent) => tell("progress", {percent});
    const settings = {requestTimeout: patience, responseDelay: pace, baseSize: 50};
    const serve = async (query, sequence) =>
        await device.updateOta({url: image}, query, sequence, {}, progress, settings);
    let served;
    try {
        served = await serve();
    } catch (error) {
        if (!error.message.startsWith("Device didn't respond")) throw error;
        // It turns notifications down while it is busy, as with the blocks that an earlier run left it without.
        tell("busy", {why: error.message});
        served = await serve({fileVersion: running}, 0);
    }
    const [before, after] = served;
    if (after === undefined) throw new Failure("the image is no newer than what the device runs");
    tell("updated", {from: version(before.fileVersion), to: version(after.fileVersion)});
}

async function main() {
    const wanted = asked();
    const log = (level) => (message, where) =>
        console.error(level, where, typeof message === "function" ? message() : message);
    setLogger({debug: () => {}, info: log("info"), warning: log("warning"), error: log("error")});
    const controller = build(wanted);
    const gone = new Promise((_, reject) => {
        controller.on("adapterDisconnected", () => reject(new Failure("the dongle is gone")));
        for (const signal of ["SIGINT", "SIGTERM"]) {
            process.on(signal, () => reject(new Failure(`ended by ${signal}`)));
        }
    });
    const work = async () => {
        const start = await within(wanted.within, controller.start(), "starting the network");
        const {panID, channel} = await controller.getNetworkParameters();
        const {meta} = await controller.getCoordinatorVersion();
        tell("network", {start, ezsp: meta.ezsp, revision: meta.revision, panID, channel});
        const device = await admitted(controller, wanted);
        const before = await read(device);
        if (wanted.image === undefined) return;
        if (before !== wanted.version) await update(device, wanted, before);
        if ((await read(device)) !== wanted.version) throw new Failure("the device does not run the new version");
    };
    let status = 0;
    try {
        await Promise.race([work(), gone]);
        tell("done");
    } catch (error) {
        tell("failed", {why: error.message});
        if (!(error instanceof Failure)) console.error(error);
        status = 1;
    }
    try {
        await within(10_000, controller.stop(), "stopping");
    } catch (error) {
        console.error(`ota.mjs: ${error.message}`);
    }
    process.exit(status);
}

await main();
