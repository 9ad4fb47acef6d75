"""odil in both roles, run by the system's Python: see dcmjs_peer.js for the protocol of stdin and stdout.

Its wrappers have no N-CREATE user and no N-GET, N-ACTION, N-DELETE, N-EVENT-REPORT at all.
"""

import os
import signal
import sys

import odil

PORT, FOLDER = int(sys.argv[1]), sys.argv[2]
NATIVE = [odil.registry.ExplicitVRLittleEndian, odil.registry.ImplicitVRLittleEndian]
FIND, MOVE, GET = (
    getattr(odil.registry, f"StudyRootQueryRetrieveInformationModel{name}") for name in ("Find", "Move", "Get")
)
WORKLIST = odil.registry.ModalityWorklistInformationModelFind
MPPS = odil.registry.ModalityPerformedProcedureStep
Role = odil.AssociationParameters.PresentationContext.Role


def held():
    """Paths by SOP Instance UID: the folder is what the two processes share."""
    paths = [os.path.join(FOLDER, name) for name in sorted(os.listdir(FOLDER)) if name.endswith(".dcm")]
    return {text(read(path), "SOPInstanceUID"): path for path in paths}


def text(data_set, name):
    """First value as text."""
    return data_set.as_string(name)[0].decode() if name in data_set and len(data_set.as_string(name)) else ""


def read(path):
    """A data set without its meta information."""
    with odil.open(path, "rb") as stream:
        return odil.Reader.read_file(stream)[1]


def keep(data_set):
    """Write a received object."""
    path = os.path.join(FOLDER, f"{os.getpid()}.{len(os.listdir(FOLDER))}")
    with odil.open(path, "wb") as stream:
        odil.Writer.write_file(data_set, stream)
    os.rename(path, f"{path}.dcm")


def selected(keys):
    """Held objects that match."""
    names = ("StudyInstanceUID", "PatientID")
    found = [read(path) for path in held().values()]
    return [d for d in found if all(not text(keys, n) or text(keys, n) == text(d, n) for n in names)]


def answers(base, project):
    """A data set generator class over what matches."""

    class Generator(base.DataSetGenerator):
        def __init__(self, association):
            base.DataSetGenerator.__init__(self)
            self.association, self.items, self.position = association, [], 0

        def initialize(self, message):
            keys = message.get_data_set()
            self.items, self.position = [project(keys, d) for d in selected(keys)], 0

        def done(self):
            return self.position >= len(self.items)

        def next(self):
            self.position += 1

        def get(self):
            return self.items[self.position]

        def count(self):
            return len(self.items)

        def get_association(self, request):
            destination = request.get_move_destination()
            found = selected(request.get_data_set())  # `initialize` comes later
            classes = sorted({text(d, "SOPClassUID") for d in found})
            with open(os.path.join(FOLDER, f"{destination}.node")) as file:
                made = client(file.read(), destination, *((uid, Role.SCU) for uid in classes))
            made.update_parameters().set_calling_ae_title("ODIL")
            return made

    return Generator


def only(keys, data_set):
    """What a C-FIND asked for."""
    found = odil.DataSet()
    for tag in keys.keys():  # noqa: SIM118 - a data set iterates over elements
        if tag in data_set:
            found.add(tag, data_set[tag])
    return found


def serve_one(association):
    """Requests of one association until it ends."""
    echo, store = odil.EchoSCP(association), odil.StoreSCP(association)
    find, get, move = odil.FindSCP(association), odil.GetSCP(association), odil.MoveSCP(association)
    create, change = odil.NCreateSCP(association), odil.NSetSCP(association)
    generators = [
        answers(odil.FindSCP, only)(association),
        answers(odil.GetSCP, lambda keys, d: d)(association),
        answers(odil.MoveSCP, lambda keys, d: d)(association),
    ]
    echo.set_callback(lambda message: 0)

    def stored(message):
        keep(message.get_data_set())
        return 0

    store.set_callback(stored)
    create.set_callback(lambda message: 0)
    change.set_callback(lambda message: 0)
    for scp, generator in zip((find, get, move), generators, strict=True):
        scp.set_generator(generator)
    command = odil.messages.Message.Command
    served = {
        command.C_ECHO_RQ: echo,
        command.C_STORE_RQ: store,
        command.C_FIND_RQ: find,
        command.C_GET_RQ: get,
        command.C_MOVE_RQ: move,
        command.N_CREATE_RQ: create,
        command.N_SET_RQ: change,
    }
    try:
        while True:
            message = association.receive_message()
            served[message.get_command_field()](message)
    except (odil.AssociationReleased, odil.AssociationAborted):
        return


server = 0


def serve():
    """Wait for one association in a process of its own, after the one before has ended."""
    global server
    if server:
        os.waitpid(server, 0)
    server = os.fork()  # the wrappers keep the interpreter's lock while they wait for the network
    if server == 0:
        os.dup2(2, 1)  # N-SET prints a cry for help
        association = odil.Association()
        try:
            association.receive_association("v4", PORT)
            serve_one(association)
        finally:
            os._exit(0)
    return []


def client(port, called, *contexts):
    """An association that is not open yet."""
    association = odil.Association()
    association.set_peer_host("127.0.0.1")
    association.set_peer_port(int(port))
    made = [
        odil.AssociationParameters.PresentationContext(2 * i + 1, uid, NATIVE, role)
        for i, (uid, role) in enumerate(contexts)
    ]
    association.update_parameters().set_calling_ae_title("ODIL").set_called_ae_title(called)
    association.update_parameters().set_presentation_contexts(made)
    return association


def keys(level, words):
    """An identifier."""
    made = odil.DataSet()
    if level:
        made.add("QueryRetrieveLevel", [level])
    for word in words:
        name, _, value = word.partition("=")
        made.add(name, [value] if value else odil.Value.Strings())
    return made


def echo(port, called):
    association = client(port, called, (odil.registry.Verification, Role.SCU))
    association.associate()
    odil.EchoSCU(association).echo()
    association.release()
    return ["0000"]


def store(port, called, *paths):
    objects = [read(path) for path in paths]
    association = client(port, called, *((uid, Role.SCU) for uid in sorted({text(d, "SOPClassUID") for d in objects})))
    association.associate()
    scu = odil.StoreSCU(association)
    for data_set in objects:
        scu.set_affected_sop_class(data_set)
        scu.store(data_set)  # raises unless it succeeds
    association.release()
    return ["0000"] * len(objects)


def ask(model, port, called, identifier):
    association = client(port, called, (model, Role.SCU))
    association.associate()
    scu = odil.FindSCU(association)
    scu.set_affected_sop_class(model)
    found = scu.find(identifier)
    association.release()
    return found


def find(port, called, *words):
    found = ask(FIND, port, called, keys("STUDY", words))
    return [f"ff00\t{text(d, 'StudyInstanceUID')}\t{text(d, 'PatientID')}" for d in found] + ["0000"]


def worklist(port, called, station):
    step = keys("", [f"ScheduledStationAETitle={station}"])
    identifier = keys("", ["PatientID=", "AccessionNumber="])
    identifier.add("ScheduledProcedureStepSequence", [step])
    found = ask(WORKLIST, port, called, identifier)
    return [f"ff00\t{text(d, 'AccessionNumber')}\t{text(d, 'PatientID')}" for d in found] + ["0000"]


def move(port, called, destination, study):
    association = client(port, called, (MOVE, Role.SCU))
    association.associate()
    scu = odil.MoveSCU(association)
    scu.set_affected_sop_class(MOVE)
    scu.set_move_destination(destination)
    scu.move(keys("STUDY", [f"StudyInstanceUID={study}"]))
    association.release()
    return ["0000"]


def get(port, called, study):
    association = client(port, called, (GET, Role.SCU), (odil.registry.CTImageStorage, Role.SCP))
    association.associate()
    scu = odil.GetSCU(association)
    scu.set_affected_sop_class(GET)
    scu.get(keys("STUDY", [f"StudyInstanceUID={study}"]), keep)
    association.release()
    return ["0000"]


def change(port, called, sop_class, uid, *words):
    association = client(port, called, (sop_class, Role.SCU))
    association.associate()
    identifier = keys("", [f"RequestedSOPClassUID={sop_class}", f"RequestedSOPInstanceUID={uid}", *words])
    scu = odil.NSetSCU(association)
    scu.set_affected_sop_class(identifier)
    scu.set(identifier)
    association.release()
    return ["0000"]


def node(title, port):
    with open(os.path.join(FOLDER, f"{title}.node"), "w") as file:
        file.write(port)
    return []


def hold(path):
    os.link(path, os.path.join(FOLDER, os.path.basename(path)))
    return []


def kept():
    return [f"{uid}\t{path}" for uid, path in held().items()]


WORK = {
    "echo": echo,
    "store": store,
    "find": find,
    "worklist": worklist,
    "move": move,
    "get": get,
    "set": change,
    "node": node,
    "hold": hold,
    "kept": kept,
    "serve": serve,
}
if __name__ == "__main__":
    for line in sys.stdin:
        word, *rest = line.rstrip("\n").split("\t")
        try:
            found = WORK[word](*rest)
        except Exception as error:
            found = [f"error\t{type(error).__name__}: {error}"]
        print(*found, ".", sep="\n", flush=True)
    if server:
        os.kill(server, signal.SIGTERM)
        os.waitpid(server, 0)
