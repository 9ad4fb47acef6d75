// Sends the messages of a JSON array on stdin to a port by a client of npm, each after the answer to the one before;
// prints a JSON array of [MSA-1, MSA-2] as the library reads them: hl7_clients.js LIBRARY PORT
'use strict'

const { readFileSync } = require('node:fs')
const [library, port] = [process.argv[2], Number(process.argv[3])]
const messages = JSON.parse(readFileSync(0, 'utf8'))
const found = []

function done () {
  process.stdout.write(JSON.stringify(found), () => process.exit(0))
}

const clients = {
  'simple-hl7' () {
    const hl7 = require('simple-hl7')
    const client = hl7.Server.createTcpClient({ host: '127.0.0.1', port, keepalive: true })
    const parser = new hl7.Parser({ segmentSeperator: '\r' })
    const next = () => {
      if (found.length === messages.length) return done()
      client.send(parser.parse(messages[found.length]), (error, answer) => {
        if (error) throw error
        const msa = answer.getSegment('MSA')
        found.push([msa.getField(1), msa.getField(2)])
        setImmediate(next) // the library ends its turn after this callback
      })
    }
    next()
  },

  'node-hl7-client' () {
    const { Client, Message } = require('node-hl7-client')
    const client = new Client({ host: '127.0.0.1' })
    const outbound = client.createOutbound({ port, waitAck: true, connectionTimeout: 60000 }, async (answer) => {
      // the library takes the CR of the last segment for a segment without a name
      const message = new Message({ text: answer.getMessage().toString().trim() })
      found.push([message.get('MSA.1').toString(), message.get('MSA.2').toString()])
      if (found.length === messages.length) return done()
      setImmediate(next)
    })
    setInterval(() => {}, 1000) // the library lets the process end while it waits
    const next = () => outbound.sendMessage(new Message({ text: messages[found.length] }))
    outbound.on('client.connect', next)
  }
}

clients[library]()
