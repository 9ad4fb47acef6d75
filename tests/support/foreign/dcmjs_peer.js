// dcmjs-dimse in both roles. Lines on stdin are requests to make, words are separated by tabs; each is answered by
// lines that end with ".". The provider listens on the port of the first argument and keeps files in the folder of
// the second.
const path = require('path');
const readline = require('readline');
const { Client, Dataset, Scp, Server, log, requests, responses, constants } = require('dcmjs-dimse');
const { PresentationContextResult, SopClass, Status, TransferSyntax } = constants;

log.setLevel('error');
const [, , port, folder] = process.argv;
const files = new Map(); // SOP Instance UID to path
const nodes = new Map(); // AE title to port
const instances = new Map(); // normalized ones: SOP Instance UID to elements
const NATIVE = [TransferSyntax.ExplicitVRLittleEndian, TransferSyntax.ImplicitVRLittleEndian];
const hex = (status) => status.toString(16).padStart(4, '0');

function keep(request, done) {
  const response = responses.CStoreResponse.fromRequest(request);
  const uid = request.getAffectedSopInstanceUid();
  const file = path.join(folder, `${files.size}.dcm`);
  request.getDataset().toFile(file, (error) => {
    if (!error) files.set(uid, file);
    response.setStatus(error ? Status.ProcessingFailure : Status.Success);
    done(response);
  });
}

function selected(keys) {
  const found = [...files.values()].map((file) => Dataset.fromFile(file));
  return found.filter((d) => ['StudyInstanceUID', 'PatientID'].every(
    (name) => !keys.getElement(name) || keys.getElement(name) === d.getElement(name)));
}

class Provider extends Scp {
  associationRequested(asked) {
    this.association = asked;
    asked.getPresentationContexts().forEach((pc) => {
      const context = asked.getPresentationContext(pc.id);
      const wanted = context.getTransferSyntaxUids();
      const chosen = NATIVE.find((syntax) => wanted.includes(syntax)) || wanted[0];
      context.setResult(PresentationContextResult.Accept, chosen);
    });
    this.sendAssociationAccept();
  }
  associationReleaseRequested() {
    this.sendAssociationReleaseResponse();
  }
  cEchoRequest(request, done) {
    const response = responses.CEchoResponse.fromRequest(request);
    response.setStatus(Status.Success);
    done(response);
  }
  cStoreRequest(request, done) {
    keep(request, done);
  }
  cFindRequest(request, done) {
    const keys = request.getDataset();
    const names = Object.keys(keys.getElements()).filter((name) => !name.startsWith('_'));
    const answers = selected(keys).map((d) => {
      const response = responses.CFindResponse.fromRequest(request);
      const values = names.map((name) => [name, keys.getElement(name) || d.getElement(name) || '']);
      response.setDataset(new Dataset(Object.fromEntries(values)));
      response.setStatus(Status.Pending);
      return response;
    });
    const last = responses.CFindResponse.fromRequest(request);
    last.setStatus(Status.Success);
    done([...answers, last]);
  }
  cMoveRequest(request, done) {
    const found = selected(request.getDataset());
    const response = responses.CMoveResponse.fromRequest(request);
    const destination = request.getMoveDestination ? request.getMoveDestination()
      : request.getCommandDataset().getElement('MoveDestination');
    if (!nodes.has(destination)) {
      response.setStatus(0xa801);
      done([response]);
      return;
    }
    let completed = 0;
    const client = new Client();
    found.forEach((d) => {
      const store = new requests.CStoreRequest(d);
      store.on('response', (r) => { completed += r.getStatus() === Status.Success ? 1 : 0; });
      client.addRequest(store);
    });
    client.on('closed', () => {
      response.setCompleted(completed);
      response.setFailures(found.length - completed);
      response.setStatus(completed === found.length ? Status.Success : 0xb000);
      done([response]);
    });
    client.send('127.0.0.1', nodes.get(destination), 'DCMJS', destination);
  }
  cGetRequest(request, done) {
    const found = selected(request.getDataset());
    const response = responses.CGetResponse.fromRequest(request);
    let completed = 0;
    this.on('done', () => {
      response.setCompleted(completed);
      response.setFailures(found.length - completed);
      response.setStatus(completed === found.length ? Status.Success : 0xb000);
      done([response]);
    });
    this.sendRequests(found.map((d) => {
      const store = new requests.CStoreRequest(d);
      store.on('response', (r) => { completed += r.getStatus() === Status.Success ? 1 : 0; });
      return store;
    }));
  }
  nCreateRequest(request, done) {
    instances.set(request.getAffectedSopInstanceUid(), request.getDataset().getElements());
    const response = responses.NCreateResponse.fromRequest(request);
    response.setStatus(Status.Success);
    done(response);
  }
  nSetRequest(request, done) {
    const uid = request.getRequestedSopInstanceUid();
    Object.assign(instances.get(uid), request.getDataset().getElements());
    const response = responses.NSetResponse.fromRequest(request);
    response.setStatus(Status.Success);
    done(response);
  }
  nGetRequest(request, done) {
    const response = responses.NGetResponse.fromRequest(request);
    response.setDataset(new Dataset(instances.get(request.getRequestedSopInstanceUid())));
    response.setStatus(Status.Success);
    done(response);
  }
  nActionRequest(request, done) {
    const response = responses.NActionResponse.fromRequest(request);
    response.setStatus(Status.Success);
    done(response);
    const result = new requests.NEventReportRequest(
      request.getRequestedSopClassUid(), request.getRequestedSopInstanceUid(), 1);
    result.setDataset(request.getDataset());
    this.sendRequests(result);
  }
  nDeleteRequest(request, done) {
    const response = responses.NDeleteResponse.fromRequest(request);
    const known = instances.delete(request.getRequestedSopInstanceUid());
    response.setStatus(known ? Status.Success : Status.NoSuchObjectInstance);
    done(response);
  }
  nEventReportRequest(request, done) {
    const response = responses.NEventReportResponse.fromRequest(request);
    response.setStatus(Status.Success);
    done(response);
  }
}

function elements(words) {
  return Object.fromEntries(words.map((word) => word.split(/=(.*)/s).slice(0, 2)));
}

function send(target, called, made, answer, listen = () => {}) {
  const client = new Client();
  made.forEach((request) => client.addRequest(request));
  listen(client);
  client.on('associationRejected', () => answer('rejected'));
  let released = false;
  client.on('associationReleased', () => { released = true; });
  client.on('networkError', (error) => {
    if (!released) answer(`error\t${error.message}`); // it asks for release twice, the second time too late
  });
  client.on('closed', () => answer('.'));
  client.send('127.0.0.1', Number(target), 'DCMJS', called, { associationLingerTimeout: 200 });
}

function statuses(request, answer, show = () => '') {
  request.on('response', (response) => answer(`${hex(response.getStatus())}${show(response)}`));
  return request;
}

const counts = (r) => `\t${r.getCompleted()}`;
const work = {
  node: (answer, title, target) => { nodes.set(title, Number(target)); answer('.'); },
  hold: (answer, file) => { files.set(Dataset.fromFile(file).getElement('SOPInstanceUID'), file); answer('.'); },
  kept: (answer) => { files.forEach((file, uid) => answer(`${uid}\t${file}`)); answer('.'); },
  echo: (answer, target, called) => send(target, called, [statuses(new requests.CEchoRequest(), answer)], answer),
  store: (answer, target, called, ...paths) => send(
    target, called, paths.map((p) => statuses(new requests.CStoreRequest(p), answer)), answer),
  find: (answer, target, called, ...keys) => {
    const request = requests.CFindRequest.createStudyFindRequest(elements(keys));
    send(target, called, [statuses(request, answer, (r) => (r.hasDataset()
      ? `\t${r.getDataset().getElement('StudyInstanceUID')}\t${r.getDataset().getElement('PatientID')}` : ''))], answer);
  },
  worklist: (answer, target, called, station) => {
    const request = requests.CFindRequest.createWorklistFindRequest({
      PatientID: '', AccessionNumber: '', ScheduledProcedureStepSequence: [{ ScheduledStationAETitle: station }],
    });
    // by default it asks for Pregnancy Status 0 (not pregnant), as it writes an empty US as a zero
    delete request.getDataset().getElements().PregnancyStatus;
    send(target, called, [statuses(request, answer, (r) => (r.hasDataset()
      ? `\t${r.getDataset().getElement('AccessionNumber')}\t${r.getDataset().getElement('PatientID')}` : ''))], answer);
  },
  query: (answer, target, called, syntax, keys) => { // a worklist query of any keys, as JSON; the answers in full
    const request = new requests.CFindRequest();
    request.setAffectedSopClassUid(SopClass.ModalityWorklistInformationModelFind);
    request.setDataset(new Dataset(JSON.parse(keys), syntax));
    send(target, called, [statuses(request, answer, (r) => (r.hasDataset()
      ? `\t${JSON.stringify(r.getDataset().getElements())}` : ''))], answer);
  },
  move: (answer, target, called, destination, study) => send(target, called,
    [statuses(requests.CMoveRequest.createStudyMoveRequest(destination, study), answer, counts)], answer),
  get: (answer, target, called, study) => send(target, called,
    [statuses(requests.CGetRequest.createStudyGetRequest(study), answer, counts)], answer,
    (client) => client.on('cStoreRequest', keep)),
  create: (answer, target, called, sopClass, uid, ...keys) => {
    const request = statuses(new requests.NCreateRequest(sopClass, uid), answer);
    request.setDataset(new Dataset(elements(keys)));
    send(target, called, [request], answer);
  },
  set: (answer, target, called, sopClass, uid, ...keys) => {
    const request = statuses(new requests.NSetRequest(sopClass, uid), answer);
    request.setDataset(new Dataset(elements(keys)));
    send(target, called, [request], answer);
  },
  nget: (answer, target, called, sopClass, uid, name) => send(target, called,
    [statuses(new requests.NGetRequest(sopClass, uid, []), answer,
      (r) => (r.hasDataset() ? `\t${r.getDataset().getElement(name)}` : ''))], answer),
  delete: (answer, target, called, sopClass, uid) => send(target, called,
    [statuses(new requests.NDeleteRequest(sopClass, uid), answer)], answer),
  commit: (answer, target, called, transaction, sopClass, uid) => {
    const request = statuses(new requests.NActionRequest(SopClass.StorageCommitmentPushModel,
      '1.2.840.10008.1.20.1.1', 1), answer);
    request.setDataset(new Dataset({
      TransactionUID: transaction,
      ReferencedSOPSequence: [{ ReferencedSOPClassUID: sopClass, ReferencedSOPInstanceUID: uid }],
    }));
    send(target, called, [request], answer, (client) => client.on('nEventReportRequest', (event, done) => {
      answer(`event\t${event.getEventTypeId()}\t${event.getDataset().getElement('TransactionUID')}`);
      const response = responses.NEventReportResponse.fromRequest(event);
      response.setStatus(Status.Success);
      done(response);
    }));
  },
};

const server = new Server(Provider);
server.on('networkError', () => {});
server.listen(Number(port));
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [word, ...rest] = line.split('\t');
  let over = false;
  const answer = (text) => {
    if (!over) process.stdout.write(`${text}\n`);
    over = over || text === '.';
  };
  try {
    work[word](answer, ...rest);
  } catch (error) {
    answer(`error\t${error.message}`);
    answer('.');
  }
}).on('close', () => process.exit(0));
